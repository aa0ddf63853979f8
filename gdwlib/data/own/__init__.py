"""Folders of pictures and tables of the user's own."""
