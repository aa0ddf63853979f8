"""The command line: a file a command, its flags and what it does."""
