"""How old is a label? A client of policy `latest` that sends ten times faster than real time, to a real server on loopback.

Once with the default limit of frames per second, once without it, so that newest-wins alone must cope. Checks the sum of the
ledger and SEMANTICS' bound on age: a frame's own decode, the two rounds it touched, 5 ms. Ages and durations are as the
server says them with each result; the round in progress when a frame arrived is the one of the result before.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import bundles
from tests.media import ensure
from tests.served.server import encoded, framed, served, talk

SPEED, TURNS, SLACK_MS = 10.0, 5, 5.0
STEP_NS = 33_333_333
LIMITS = {"60 fps (the default)": {}, "none": {"MIEN_SESSION__MAX_FPS": "1000"}}


@dataclass(frozen=True, slots=True, eq=False)
class Ages:
    """One run: the server's own account, and per result age, bound (ms, float64)."""

    closed: dict[str, object]
    ages: NDArray[np.float64]
    bounds: NDArray[np.float64]


def measure(environment: dict[str, str]) -> Ages:
    """Push a clip, over and over, ten times too fast."""
    clip = [bundle.frame("color") for bundle in bundles(ensure() / "single_face.mp4")]
    pictures = [encoded(frame.data, "jpeg") for frame in clip if frame is not None]  # type: ignore[arg-type]
    with served(environment=environment) as port, talk(port, policy="latest") as said:
        every = itertools.chain.from_iterable([pictures] * TURNS)
        said.push((framed(data, "jpeg", i * STEP_NS) for i, data in enumerate(every)), interval_s=1 / (30 * SPEED))
        closed = said.close()
    deliveries = [message["delivery"] for message in said.of("result")]
    ages = np.array([d["age_ms"] for d in deliveries])
    decode = np.array([d["timing"]["decode"] for d in deliveries])
    rounds = decode + np.array([d["timing"]["infer"] for d in deliveries])
    before = np.concatenate([rounds[:1], rounds[:-1]])
    return Ages(closed, ages, decode + before + rounds + SLACK_MS)


def account(closed: dict[str, object]) -> tuple[int, int]:
    """Return the frames received, and the sum of what became of them."""
    dropped = closed["dropped"]
    assert isinstance(dropped, dict)
    return int(str(closed["received"])), int(str(closed["used"])) + sum(dropped.values()) + int(str(closed["rejected"]))


def report(limit: str, run: Ages) -> str:
    """Return the figures in three lines."""
    received, accounted = account(run.closed)
    middle, high, most = np.median(run.ages), np.percentile(run.ages, 99), run.ages.max()
    within = float(np.mean(run.ages <= run.bounds))
    return (
        f"limit {limit}: received {received}, used {run.closed['used']}, dropped {run.closed['dropped']}, "
        f"rejected {run.closed['rejected']}; accounted for {accounted}\n"
        f"  age of a label: median {middle:.1f} ms, 99th percentile {high:.1f} ms, largest {most:.1f} ms\n"
        f"  bound (own decode + two rounds + {SLACK_MS:g} ms): median {np.median(run.bounds):.1f} ms; "
        f"within it {within:.1%} of {len(run.ages)}"
    )


def main() -> bool:
    """Print the figures; return whether the sums are right and at least 99 % of the labels were within the bound."""
    good = True
    for limit, environment in LIMITS.items():
        run = measure(environment)
        print(report(limit, run))
        received, accounted = account(run.closed)
        good &= received == accounted and float(np.mean(run.ages <= run.bounds)) >= 0.99
    return good


if __name__ == "__main__":
    sys.exit(not main())
