"""Networks of ours, one file each; `exporters/architecture.py` says what such a file holds."""
