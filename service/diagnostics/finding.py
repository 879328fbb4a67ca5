"""One answer of `mien doctor`.

Owns its form, and nothing else, so that whoever asks needs only the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "absent", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. `warning`: it works so far, or nothing asked for needs it; `absent`: not there, and nothing asked for needs it;
    `fault`: what the configuration asks for cannot run."""

    topic: str
    name: str
    state: State
    detail: str
