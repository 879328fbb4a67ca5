"""The words for flags that several commands share with `mien doctor`.

Owns their texts alone: `commands/flags.py` makes flags of typer's out of them, and `doctor.py`, which must run where typer does not,
flags of argparse's.
"""

from __future__ import annotations

CONFIG = ("FILE", "TOML file; `mien config` prints one.")
MODEL = ("ID|DIR", "Expression model: an id, or ./ITS/FOLDER.")
MODELS = ("DIR", "Directory of more model folders; repeatable.")
DETECTOR = ("ID|DIR", "Face finder: an id, or ./ITS/FOLDER.")
BACKEND = ("NAME", "Runtime of the networks; auto: the quickest that opens them.")
THREADS = ("N", "Threads within a network; 0: the runtime chooses.")
