"""The command line: a file for each kind of command, and the flags of all of them."""
