"""Do shared batches pay? Eight sessions of the default model in one process: batched rounds against one row at a time.

Budget on a CPU: at least 0.95× the speed of batch 1 at equal threads (batching must not cost), ≥ 2× where a GPU runs it.
"""

from __future__ import annotations

import sys

from benchmarks.clips import bundles
from benchmarks.interleave import interleave, ratio
from engines.engine import EngineOptions
from engines.manifest import Detector
from service.models import Models
from service.perception import pixels
from service.rounds import Batcher, settle
from service.session import Session
from service.settings import SessionOptions
from tests.media import ensure

SESSIONS, FRAMES, RUNS = 8, 48, 7


def main() -> bool:
    """Print the ratio; return whether it is within the budget."""
    media = ensure()
    models = Models([], EngineOptions(threads=1))
    model, detector = models.load("fer-small"), models.load("blazeface-front").manifest
    assert isinstance(detector, Detector)
    perception, clip = pixels.create(detector), bundles(media / "single_face.mp4")[:FRAMES]
    chosen = {graph: models.max_batch[graph] for graph in models.engines}

    def run(max_batch: int | None) -> None:
        sizes = chosen if max_batch is None else dict.fromkeys(models.engines, max_batch)
        batcher = Batcher(models.engines, sizes)
        sessions = [Session(model, perception, SessionOptions()) for _ in range(SESSIONS)]
        for bundle in clip:
            settle([(session, session.advance(bundle)) for session in sessions], batcher)

    timed = interleave({"one": lambda: run(1), "measured": lambda: run(None), "eight": lambda: run(8)}, RUNS)
    gpu = "CPU" not in model.backend
    sizes = ", ".join(f"{id}/{part} {size}" for (id, part), size in chosen.items())
    low, middle, high = ratio(timed["one"], timed["measured"])
    print(f"{SESSIONS} sessions, {model.backend}, 1 thread; batch sizes chosen at warm-up: {sizes}")
    print(f"batched rounds {middle:.2f}× the speed of batch 1 (pairs {low:.2f}–{high:.2f}; budget ≥ {2.0 if gpu else 0.95:g})")
    print(f"always 8: {ratio(timed['one'], timed['eight'])[1]:.2f}×")
    models.close()
    return middle >= (2.0 if gpu else 0.95)


if __name__ == "__main__":
    sys.exit(not main())
