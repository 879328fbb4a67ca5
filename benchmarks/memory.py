"""Does a session grow? RSS of the session core over many frames: synthetic faces, no pixels, no graphs.

Budget: at most 10 MiB per 10⁵ frames.
"""

from __future__ import annotations

import gc
import sys

import numpy as np
import psutil

from benchmarks.synthetic import people, pipeline

FRAMES = 200_000
EVERY = 10_000
BUDGET_MIB = 10.0


def main() -> bool:
    """Print the slope; return whether it is within the budget."""
    process, pipe = psutil.Process(), pipeline()
    readings: list[tuple[int, float]] = []
    for number in range(1, FRAMES + 1):
        pipe.push(people(number))
        if number % EVERY == 0:
            gc.collect()
            readings.append((number, process.memory_info().rss / 2**20))
    # The first quarter is warm-up: caches and the allocator's arenas fill.
    frames, mib = np.array(readings[len(readings) // 4 :]).T
    slope = float(np.polyfit(frames / 1e5, mib, 1)[0])
    print(f"RSS {readings[0][1]:.1f} → {readings[-1][1]:.1f} MiB over {FRAMES} frames of three people")
    print(f"slope {slope:+.2f} MiB per 10⁵ frames (budget {BUDGET_MIB:g})")
    return slope <= BUDGET_MIB


if __name__ == "__main__":
    sys.exit(not main())
