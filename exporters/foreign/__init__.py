"""Networks that others trained and packages ship, built again as graphs of ours. One file each."""
