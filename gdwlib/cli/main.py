"""`gdwlib` and `python -m gdwlib`: every command by name, and what becomes of errors."""

import errno
import io
import os
import sys
from pathlib import Path

from gdwlib.cli import bench, compare, data, predict, run, suspects, sweep, table
from gdwlib.cli.flags import Parser
from gdwlib.data import DataError
from gdwlib.engines.collective import ProcessLost
from gdwlib.engines.processes import first_to_report
from gdwlib.runs.files import RecordError
from gdwlib.runs.folders import Folders

COMMANDS = {
    "run": run,
    "sweep": sweep,
    "table": table,
    "compare": compare,
    "bench": bench,
    "data": data,
    "suspects": suspects,
    "predict": predict,
}


def parser() -> Parser:
    top = Parser(
        prog="gdwlib", description="Generalized Data Weighting: run the paper's experiments."
    )
    add = top.add_subparsers(dest="command", required=True, metavar="COMMAND").add_parser
    folders = Parser(add_help=False)
    folders.add_argument(
        "--outputs", type=Path, metavar="DIR", help="where records are (default: outputs/)"
    )
    folders.add_argument(
        "--data", type=Path, metavar="DIR", help="where data sets are (default: data/)"
    )
    for name, command in COMMANDS.items():
        command.add_arguments(add(name, parents=[folders], help=command.HELP))
    return top


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    own = argv.index("--") if "--" in argv else len(argv)
    args = parser().parse_args(argv[:own])
    args.snakemake = argv[own + 1 :]
    args.folders = Folders.named(args.outputs, args.data)
    for stream in (sys.stdout, sys.stderr):  # as in a locale of ASCII alone
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        COMMANDS[args.command].main(args)
        sys.stdout.flush()
    except BrokenPipeError:  # as of `| head`: who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (DataError, RecordError, ValueError, FloatingPointError, ProcessLost) as error:
        text = " ".join(str(error).split())
        status = 1
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        text = f"what is printed could not be written ({error.strerror})"
        status = 1
    except KeyboardInterrupt:
        text = "stopped; the same command goes on after the last finished epoch"
        status = 130
    else:
        return 0
    if first_to_report():
        print(f"gdwlib {args.command}: {text}", file=sys.stderr)
    return status
