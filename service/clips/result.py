"""What comes of a clip: its events while they come, and at the end the whole in every format.

Owns which formats there are. Does not own their layout (`service/reports.py`, `vtt.py`) or where they lie (`files.py`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from service.analyze import Tally
from service.clips.vtt import Vtt
from service.events import SessionEvent, line
from service.intake import Source
from service.messages import Timing
from service.models import Model
from service.reports import Csv, JsonDocument, Report, Style

MEDIA_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
_NO_COST = Timing(0, 0, 0, 0, 0)


class Result:
    """The result of one pass, growing. `lines`: its events, one JSON text each, only ever appended to; `model`: its id."""

    def __init__(self, name: str, model: Model) -> None:
        self.lines: list[str] = []
        self.model = model.manifest.id
        self._source = Source(Path(name), name)
        style = Style(model, several=False)
        self._texts = {suffix: io.StringIO(newline="") for suffix in ("json", "csv", "vtt")}
        self._reports: tuple[Report, ...] = (
            JsonDocument(self._texts["json"], style), Csv(self._texts["csv"], style), Vtt(self._texts["vtt"]),
        )  # fmt: skip

    def add(self, event: SessionEvent) -> None:
        """Take the next event."""
        self.lines.append(line(event))
        for report in self._reports:
            report.say(self._source, event, _NO_COST)

    def texts(self, tally: Tally) -> dict[str, str]:
        """End, and return the whole by suffix."""
        for report in self._reports:
            report.end(self._source, tally)
            report.close()
        texts = {suffix: text.getvalue() for suffix, text in self._texts.items()}
        return texts | {"ndjson": "".join(text + "\n" for text in self.lines)}
