"""Folders of images and tables of the user's own."""
