"""Models on runtimes, timed side by side and compared: `mien bench`."""
