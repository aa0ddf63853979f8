"""The command line: `python -m gdwlib COMMAND --help`."""

import sys

from gdwlib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
