"""What this machine has and what mien would do with it: `mien doctor`."""
