"""The terminal: one console, and progress for what takes minutes. Owns no command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from engines.manifest import Manifest
from engines.proof import Parity

OUT = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a line as it is, brackets and all."""
    OUT.print(text, markup=False)


@contextmanager
def steps(what: str) -> Iterator[Callable[[str], None]]:
    """Show what goes on: a spinner with the step in hand, and a line with its seconds when one of more than a second is done."""
    began, current = time.monotonic(), ""

    def close() -> None:
        if current and time.monotonic() - began > 1:
            say(f"{time.monotonic() - began:6.1f} s  {current}")

    with OUT.status(what) as status:

        def step(text: str) -> None:
            nonlocal began, current
            close()
            began, current = time.monotonic(), text
            status.update(f"{what}: {text}")

        yield step
        close()


def report(made: Manifest, where: object) -> None:
    """Print what a written folder was measured to be."""
    for one in made.parity:
        say(parity_line(one))
    cost = f"{made.cost.gmac_per_frame:.4f} GMAC per frame, {made.cost.gmac_per_window:.4f} per window"
    say(f"wrote {where}: {cost}, batch invariant: {made.batch.invariant}")
    if made.weights.kind == "random":
        say("the weights are random: its labels mean nothing, and it is refused without --allow-random-weights")


def parity_line(one: Parity) -> str:
    """Write one comparison as a line."""
    return f"{one.tensor}: error {one.max_abs_error:.2e} of {one.tolerance:.0e} allowed, spread {one.spread:.3g}"
