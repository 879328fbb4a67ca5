"""Devices to timestamped frames: drivers, readers, mailboxes. Imports nothing of mien's other packages."""
