"""The command line: a file for each command, its flags and what it does."""
