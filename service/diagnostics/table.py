"""A table for people, with the standard library alone.

Owns its layout: columns side by side; on a terminal the last one is folded to the width. Does not own what stands in it.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator, Sequence

_NARROWEST = 20


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """Yield the lines of a table; `width`: of the terminal, None where lines may be of any length."""
    cells = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns) - 1)]
    room = None if width is None else max(_NARROWEST, width - sum(widths) - len(widths) * 2)
    yield title
    for number, row in enumerate(cells):
        first, *more = [row[-1]] if room is None else textwrap.wrap(row[-1], room, break_on_hyphens=False) or [""]
        yield "  ".join([*(cell.ljust(size) for cell, size in zip(row[:-1], widths, strict=True)), first]).rstrip()
        yield from (" " * (sum(widths) + len(widths) * 2) + line for line in more)
        if number == 0 and width is not None:
            yield "  ".join("─" * size for size in (*widths, min(room or 0, max(len(row[-1]) for row in cells))))
    yield ""


def printable(text: str) -> str:
    """Return text as one line in which nothing is obeyed by a terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in os.fspath(text))


def terminal_width() -> int:
    """Return the width of the terminal, in characters."""
    return shutil.get_terminal_size().columns
