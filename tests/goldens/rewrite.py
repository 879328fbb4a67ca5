"""Write every golden anew (`make golden`); read the difference before committing it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.goldens import record
from tests.media import ensure

media = ensure()
for clip in record.CLIPS:
    record.path(clip).write_text(record.text(record.golden(record.run(media, clip))))
    print(record.path(clip).name)
