"""The commands of `mien`, by what they are about; `service/cli.py` names them."""
