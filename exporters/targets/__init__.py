"""Formats a network is exported to, one file each."""
