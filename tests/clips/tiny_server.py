"""A server process with real clips (queue, children, HTTP) over the smallest networks, up in a second: `python tiny_server.py PORT`.

Configured by the environment, as `mien serve` is; with `TINY_FULL` its device has no memory left.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.api.app import create_app
from service.api.serve import listen, server_of
from service.clips.queue import Clips, default_directory
from service.config import load
from service.live import LiveLoop
from service.metrics import Metrics
from tests.api.tiny import DETECTOR, Brightness, Shelf


def main() -> None:
    port = int(sys.argv[1])
    config = load(flags={"model": {"id": "tiny", "detector": DETECTOR.id}})
    loop = LiveLoop(Shelf(full="TINY_FULL" in os.environ), Brightness(), max_sessions=8)
    clips = Clips(config.clips, config.clips.directory or default_directory(port), loop)
    listener = listen("127.0.0.1", port)
    server_of(create_app(config, loop, Shelf(), Metrics(), clips_=clips)).run([listener])  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
