"""Runtimes, one file each; a file's name is what `--backend` and configuration call it."""
