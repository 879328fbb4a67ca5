"""What `mien-export` does, one file per group of commands; `exporters/__main__.py` names them and turns faults into one line."""
