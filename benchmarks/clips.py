"""Clips as bundles in memory, so that a benchmark of what comes after decoding does not time it."""

from __future__ import annotations

from pathlib import Path

from capture.driver import EndOfStream
from capture.frame import Bundle
from service.intake import Source, open_source


def bundles(path: Path) -> list[Bundle]:
    """Decode a whole clip."""
    driver, found = open_source(Source(path, path.name)), []
    driver.open()
    while True:
        try:
            (frame,) = driver.read()
        except EndOfStream:
            driver.close()
            return found
        found.append(Bundle(len(found) + 1, frame.device_t_ns or 0, "media", frame.arrival_t_ns, {frame.source: frame}))
