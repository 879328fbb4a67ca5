"""Which samples make a window, and what a window says."""
