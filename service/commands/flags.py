"""Flags that several commands share, and the configuration they make.

Owns the flags' names and helps. Does not own what a key of the configuration means (`service/config.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.diagnostics import flags as texts

if TYPE_CHECKING:
    from service.config import Config

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar=texts.CONFIG[0], help=texts.CONFIG[1])]
ModelId = Annotated[str | None, typer.Option("--model", "-m", metavar=texts.MODEL[0], help=texts.MODEL[1])]
ModelDirs = Annotated[list[Path] | None, typer.Option("--models", metavar=texts.MODELS[0], help=texts.MODELS[1])]
DetectorId = Annotated[str | None, typer.Option("--detector", metavar=texts.DETECTOR[0], help=texts.DETECTOR[1])]
Faces = Annotated[int | None, typer.Option("--faces", metavar="N", help="Faces reported per frame, at most.")]
Backend = Annotated[str | None, typer.Option("--backend", metavar=texts.BACKEND[0], help=texts.BACKEND[1])]
Threads = Annotated[int | None, typer.Option("--threads", metavar=texts.THREADS[0], help=texts.THREADS[1])]
Random = Annotated[bool, typer.Option("--allow-random-weights", help="Load models whose weights are random.")]
Inputs = Annotated[list[Path], typer.Argument(metavar="CLIP|IMAGE|DIR...", help="What to analyse.", show_default=False)]

LabelMap = Annotated[
    list[str] | None, typer.Option("--map", metavar="THEIRS=OURS", help="A label of the CSV by the model's name for it; repeatable.")
]


def load(file: Path | None, flags: dict[str, dict[str, Any]]) -> Config:
    """Return the configuration in force, flags that were not given (None) left out."""
    from service.config import load

    return load(file, {section: {key: value for key, value in keys.items() if value is not None} for section, keys in flags.items()})


def networks(
    model: str | None, detector: str | None, dirs: list[Path] | None, backend: str | None, threads: int | None,
    random: bool, faces: int | None, hop: int | None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Return the keys that the flags about networks stand for."""
    return {
        "model": {"id": model, "detector": detector, "dirs": dirs or None, "allow_random_weights": random or None},
        "engine": {"backend": backend, "threads": threads},
        "session": {"faces": faces, "hop": hop},
    }
