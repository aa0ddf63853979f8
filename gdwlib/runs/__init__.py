"""One run: its configuration, its training, its record, and what a finished one answers."""
