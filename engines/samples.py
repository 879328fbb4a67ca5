"""Windows of real crops from the file that `mien windows --inputs` writes, for whoever measures graphs on them.

Owns how samples become windows here: T samples on end of one track, every `hop` of them, whatever keyframes a session would choose: time
and rounding do not depend on that choice. Does not own the writing of the file (the service does).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineError
from engines.manifest import Expression, Graph, Tensor

Rows = Mapping[str, NDArray[np.generic]]
"""Arrays by crop name: (windows, T, C, H, W)."""
MOST = 256
"""Windows compared, at most; spread evenly over those there are."""


class SamplesRefused(EngineError):
    """A file of samples that does not fit the model. The text says which array, what is there and what is wanted."""


def windows(path: Path, manifest: Expression, most: int = MOST, hop: int | None = None) -> Rows:
    """Return the windows in a file that `mien windows --inputs` wrote for this model, or for one with the same crops; `hop`: samples from
    one to the next, the model's own if left out.

    Raises:
        SamplesRefused: it cannot be read, is no such file, has no crops, other ones, or no track as long as a window.
    """
    crops = crops_of(manifest)
    arrays = _arrays(path, crops)
    starts = _starts(arrays["clip"], arrays["track"], manifest.window.frames, hop or manifest.window.hop)
    if not starts:
        raise SamplesRefused(
            f"{path}: no track has {manifest.window.frames} samples on end, a window of {manifest.id!r}; give mien windows longer clips"
        )
    taken = [starts[k] for k in np.unique(np.linspace(0, len(starts) - 1, min(most, len(starts))).round().astype(int))]
    return {name: np.stack([arrays[name][rows] for rows in taken]) for name in crops}


def crops_of(manifest: Expression) -> dict[str, Tensor]:
    """Return one sample's tensors by crop name."""
    graph: Graph = manifest.graphs["frame"] if "frame" in manifest.graphs else manifest.graphs["full"]
    whole = "frame" not in manifest.graphs
    tensors = {tensor.name: tensor for tensor in graph.inputs}
    return {name: tensors[name].model_copy(update={"shape": tensors[name].shape[whole:]}) for name in manifest.crops}


def _arrays(path: Path, crops: Mapping[str, Tensor]) -> dict[str, NDArray[np.generic]]:
    named = {name: "inputs" if len(crops) == 1 else f"inputs.{name}" for name in crops}
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := sorted({"clip", "track", *named.values()} - set(file.files)):
                raise SamplesRefused(f"{path}: has no {', '.join(missing)}; write it with mien windows --inputs and the same model")
            found = {"clip": file["clip"], "track": file["track"], **{name: file[key] for name, key in named.items()}}
    except OSError as error:
        raise SamplesRefused(f"{path}: cannot be read: {error.strerror or error}; write it with mien windows --inputs") from None
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        if isinstance(error, SamplesRefused):
            raise
        raise SamplesRefused(f"{path}: is no archive of arrays; write it with mien windows --inputs") from None
    for name, tensor in crops.items():
        array = found[name]
        if array.dtype != tensor.dtype or array.shape[1:] != tensor.shape:
            raise SamplesRefused(
                f"{path}: {named[name]} is {array.dtype} {array.shape[1:]} a sample, the model takes {tensor.dtype} {tensor.shape}; "
                "write it with the same model"
            )
    return found


def _starts(clip: NDArray[np.generic], track: NDArray[np.generic], frames: int, hop: int) -> list[list[int]]:
    """Return the rows of each window, oldest first."""
    own: dict[tuple[int, int], list[int]] = {}
    for row, key in enumerate(zip(clip.tolist(), track.tolist(), strict=True)):
        own.setdefault(key, []).append(row)
    return [rows[first : first + frames] for rows in own.values() for first in range(0, len(rows) - frames + 1, hop)]
