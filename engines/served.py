"""What a graph is called on an inference server.

Owns the names on which `mien-export triton` (which writes them) and `backends/triton.py` (which asks for them) agree.
"""

from __future__ import annotations

from engines.terms import Part

SHA256 = "mien_graph_sha256"
"""The server's model parameter that holds the sha256 of the graph's file."""


def served_name(id: str, part: Part) -> str:
    """Return the server's name of a model's graph: `fer-small`, `frame` → `fer-small-frame`."""
    return f"{id}-{part}"
