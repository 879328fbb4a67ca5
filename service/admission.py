"""A used frame's samples: cut, run, put into their tracks' buffers.

Owns which tracks are sampled, what each sample asks for (the frame graph and the keyframes' feature model, in one round) and why one
is refused. Does not own crops (`perception/`), buffers (`windows/buffer.py`) or which frames are sampled (`windows/sampling.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from capture.frame import Bundle
from engines.engine import Arrays
from service.events import NoCallCode
from service.inputs import Asking, Failed, Perception, Request, Result
from service.perception.track import Track
from service.settings import Settings, Taken
from service.windows.record import Record


def is_sampled(track: Track, settings: Settings) -> bool:
    """Tell whether a track has a sample in a sampled frame: it is seen, or held by its last box where the model wants no face alone.

    Only confirmed tracks coast, so only those are held. The gates judge what is there: the size of the held box, the crop's light.
    """
    return track.matched or settings.holds


def admit(
    bundle: Bundle, tracks: Sequence[Track], records: Mapping[int, Record], settings: Settings, perception: Perception,
    on_sample: Callable[[Taken], None] | None,
) -> Asking[dict[int, NoCallCode]]:  # fmt: skip
    """Put a sample of each track that has one into its buffer; return why not, for those whose sample did not enter."""
    manifest, features = settings.manifest, settings.features(on_sample is not None)
    refused: dict[int, NoCallCode] = {}
    crops: dict[int, Arrays] = {}
    asked: dict[int, list[Request]] = {}
    for track in tracks:
        if not is_sampled(track, settings):
            continue
        crop = perception.sample(bundle, track.face, manifest)
        if isinstance(crop, str):
            refused[track.number] = crop
            continue
        crops[track.number], asked[track.number] = crop, []
        if "frame" in manifest.graphs:
            asked[track.number].append(Request((manifest.id, "frame"), crop))
        if features is not None:
            asked[track.number].append(Request((features.id, "full"), perception.crops(bundle, track.face, features.crops)))
    requests = [request for mine in asked.values() for request in mine]
    results = iter((yield requests) if requests else ())
    for number, crop in crops.items():
        rows = [next(results) for _ in asked[number]]
        found = _sound(rows if "frame" in manifest.graphs else [*rows, crop])
        if isinstance(found, str):
            refused[number] = found
            continue
        taken = Taken(number, bundle.number, bundle.t_ns, crop, *_outputs(found, crop, settings, features is not None))
        records[number].admit(taken, settings, perception)
        if on_sample is not None:
            on_sample(taken)
    return refused


def _sound(rows: Sequence[Result]) -> Sequence[Arrays] | NoCallCode:
    """Return the rows if all came and all are finite, else what is wrong with the first that is not."""
    sound: list[Arrays] = []
    for row in rows:
        if isinstance(row, Failed):
            return "backend-lost"
        if not all(np.isfinite(array).all() for array in row.values()):
            return "not-finite"
        sound.append(row)
    return sound


def _outputs(rows: Sequence[Arrays], crop: Arrays, settings: Settings, by_model: bool) -> tuple[Arrays, NDArray[np.generic] | None]:
    """Return a sample's per-frame values and its feature. `rows`: of the frame graph, the feature model (`by_model`), the crops,
    as far as there are such."""
    manifest, name = settings.manifest, settings.manifest.keyframes.features
    framed = "frame" in manifest.graphs
    if by_model and name is not None:
        return rows[0] if framed else crop, rows[1 if framed else 0][name]
    if framed:
        return rows[0], rows[0][name] if name is not None and manifest.keyframes.model is None else None
    return crop, None
