"""How well a device's clock is found from its frames' stamps: `python -m benchmarks.clock [--plot docs/images/clock.png]`.

Hidden offsets of ±500 ms and drifts of ±200 ppm, frames delayed by 20 ms and a jitter that is never negative. What is meant by the error
leaves out the least delay, which no stamps can show. Within budget: 2 ms at any time after 10 s, even jitter of 0–10 ms, ≥ 9 fps. The
plot needs matplotlib, which nothing else here does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.clock import DeviceClock

MS = 1_000_000
LEAST_MS = 20.0
BUDGET_MS = 2.0
RUNS, SECONDS = 24, 60.0
Floats = NDArray[np.float64]
JITTER: Mapping[str, Callable[[np.random.Generator, int], Floats]] = {
    "even, 0–10 ms": lambda rng, n: rng.uniform(0, 10, n),
    "exponential, mean 10 ms": lambda rng, n: rng.exponential(10, n),
    "lognormal, median 5 ms, σ 1": lambda rng, n: rng.lognormal(np.log(5), 1.0, n),
}


def run(fps: float, jitter: Callable[[np.random.Generator, int], Floats], seed: int) -> tuple[Floats, Floats, Floats]:
    """Return, for each frame of one run: seconds from its start, the estimate's error and its own uncertainty, in ms."""
    rng = np.random.default_rng(seed)
    # The extremes first, then anything between.
    offset_ms, drift_ppm = [(500, 200), (-500, -200), (500, -200), (-500, 200)][seed] if seed < 4 else rng.uniform((-500, -200), (500, 200))
    true = 10**12 + np.arange(int(fps * SECONDS)) * 1e9 / fps + rng.uniform(0, 1e9 / fps)
    device = (true - true[0]) * (1 + drift_ppm * 1e-6) + true[0] + offset_ms * MS
    arrival = true + (LEAST_MS + jitter(rng, len(true))) * MS
    clock, errors, doubts = DeviceClock(), [], []
    for t, d, a in zip(true, device, arrival, strict=True):
        clock.observe(int(d), int(a))
        fix = clock.fix
        assert fix is not None
        errors.append((fix.host_ns(int(d)) - t) / MS - LEAST_MS)
        doubts.append(fix.uncertainty_ns / MS)
    return (true - true[0]) / 1e9, np.array(errors), np.array(doubts)


def plot(path: Path) -> None:
    """Draw error over time, and the estimate's own uncertainty, for each jitter at 9 fps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(JITTER), figsize=(12, 3.6), sharey=True)
    for ax, (name, jitter) in zip(axes, JITTER.items(), strict=True):
        doubts = []
        for seed in range(RUNS):
            seconds, errors, doubt = run(9.0, jitter, seed)
            ax.plot(seconds, errors, color="#1f5fa8", alpha=0.35, linewidth=0.8, label="error, one run" if seed == 0 else None)
            doubts.append(doubt)
        typical = np.median(doubts, axis=0)
        ax.plot(seconds, typical, color="#b3541e", linewidth=1.4, label="own uncertainty (median)")
        ax.plot(seconds, -typical, color="#b3541e", linewidth=1.4)
        ax.axhspan(-BUDGET_MS, BUDGET_MS, color="#888888", alpha=0.12)
        ax.axvline(10, color="#888888", linewidth=0.8, linestyle=":")
        ax.set(title=f"jitter {name}", xlabel="seconds from the start", xlim=(0, SECONDS), ylim=(-8, 8))
    axes[0].set_ylabel("error of the estimate, ms")
    axes[0].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    """Print a table; return 1 if the budget is exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plot", type=Path, help="draw error over time into this file")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each kind")
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{arguments.runs} runs of {SECONDS:g} s each; errors in ms after 10 s")
    for name, jitter in JITTER.items():
        for fps in (9.0, 30.0):
            results = [run(fps, jitter, seed) for seed in range(arguments.runs)]
            errors = np.concatenate([np.abs(e[s > 10]) for s, e, _ in results])
            inside = np.concatenate([np.abs(e[s > 10]) <= u[s > 10] for s, e, u in results])
            print(
                f"jitter {name:28} {fps:4.0f} fps: largest {errors.max():5.2f}, 99th percentile {np.percentile(errors, 99):5.2f}, "
                f"median {np.median(errors):5.2f}; within its own uncertainty {inside.mean():6.1%}"
            )
            if name.startswith("even"):
                worst = max(worst, float(errors.max()))
    print(f"even jitter: {worst:.2f} ms, budget {BUDGET_MS:g} ms")
    if arguments.plot:
        plot(arguments.plot)
    return int(worst > BUDGET_MS)


if __name__ == "__main__":
    sys.exit(main())
