"""What must be equal between a clip's golden and another run of it, here or on another CPU.

Owns that comparison and its figures. Does not own runs or files (`record.py`).

Rounding differs between CPUs by about 1e-7, and the choice of keyframes is not continuous: where two samples are
close, another CPU may choose the other one, and the window says something else. So numbers are held to a tolerance
where a window is made of the same frames; where k of its T frames differ, the mean of T probabilities may differ by
k/T more, and no further. A label must be equal wherever the golden's two best probabilities are `CLEAR` apart,
whatever the frames. A box is the mean of candidates that overlap enough, and which do is not continuous either: it may
be off by more than a rounding now and then. Everything else is exact.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Json = Mapping[str, Any]
CLEAR = 0.05
SHARE = 0.9
PIXELS, JUMP, STEADY = 0.5, 2.0, 0.99
"""How far boxes and keypoints may be from the golden's, and how far where candidates came or went; the share of a
clip's faces that must not have jumped so."""
TOLERANCES = {
    "score": 2e-3,  # probabilities
    "scores": 2e-3,
    "valence": 4e-3,
    "arousal": 4e-3,
    "entropy": 1e-2,  # nats
    "span_ms": 1e-3,
}
"""How far another number may be from the golden's, by its key; one that is not named is exact."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How a run differs from a golden. `faults`: what must not be; `moved`: what may, on another CPU: windows made of
    other frames, labels that were not clear, boxes that jumped; `share`: of all chosen frames of the clip, those that
    are equal; `largest`: the largest difference within its tolerance, by key."""

    faults: tuple[str, ...]
    moved: tuple[str, ...]
    share: float
    largest: Mapping[str, float]


def compare(found: Sequence[Json], kept: Sequence[Json]) -> Difference:
    """Compare the events of a run, as users get them, with the golden's."""
    reader = _Reader()
    if len(found) != len(kept):
        reader.faults.append(f"{len(found)} events instead of {len(kept)}")
    for one, other in zip(found, kept, strict=False):
        reader.event(one, other)
    share = reader.equal / reader.chosen if reader.chosen else 1.0
    if share < SHARE:
        reader.faults.append(f"{share:.3f} of the chosen frames are equal; {SHARE} must be")
    if reader.jumped > (1 - STEADY) * reader.faces:
        reader.faults.append(f"{reader.jumped} of {reader.faces} boxes jumped; {STEADY} of them must not")
    return Difference(tuple(reader.faults), tuple(reader.moved), share, dict(reader.largest))


class _Reader:
    """Reads two runs side by side and takes down what differs."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.moved: list[str] = []
        self.chosen = self.equal = self.faces = self.jumped = 0
        self.largest: dict[str, float] = defaultdict(float)
        self._replaced: dict[int, list[float]] = defaultdict(list)  # by track: per window, the share of other frames

    def event(self, found: Json, kept: Json) -> None:
        if found["type"] != kept["type"]:
            self.faults.append(f"a {found['type']} stands where a {kept['type']} stood: {found}")
        elif kept["type"] == "clip_prediction":
            self._opinion(found, kept, f"clip, track {kept['track']}", kept["track"])
        else:
            at = f"frame {kept['frame']}"
            self._rest(found, kept, at, ("faces",))
            if len(found["faces"]) != len(kept["faces"]):
                self.faults.append(f"{at}: {len(found['faces'])} faces instead of {len(kept['faces'])}")
            for one, other in zip(found["faces"], kept["faces"], strict=False):
                self._face(one, other, f"{at}, track {other['track']}")

    def _face(self, found: Json, kept: Json, at: str) -> None:
        self._rest(found, kept, at, ("prediction", "bbox", "keypoints"))
        self._place(found, kept, at)
        one, other = found["prediction"], kept["prediction"]
        if one and other:
            self._opinion(one, other, at, kept["track"])
        elif one != other:
            self.faults.append(f"{at}: {'a' if one else 'no'} prediction where there was {'one' if other else 'none'}")

    def _place(self, found: Json, kept: Json, at: str) -> None:
        if found["keypoints"].keys() != kept["keypoints"].keys():
            self.faults.append(f"{at}: keypoints {sorted(found['keypoints'])} instead of {sorted(kept['keypoints'])}")
            return
        named = [(found["keypoints"][name], point) for name, point in kept["keypoints"].items()]
        points = [(found["bbox"], kept["bbox"]), *named]
        pixels = max(abs(a - b) for one, other in points for a, b in zip(one, other, strict=True))
        self.faces += 1
        if pixels <= PIXELS:
            self.largest["pixels"] = max(self.largest["pixels"], pixels)
            return
        self.jumped += 1
        text = f"{at}: box {found['bbox']} instead of {kept['bbox']}, or a keypoint, {pixels:.3g} pixels away"
        (self.moved if pixels <= JUMP else self.faults).append(text)

    def _opinion(self, found: Json, kept: Json, at: str, track: int) -> None:
        """Compare a prediction, of a window or of a clip; the clip's is the mean of its track's windows, or has its
        own."""
        clip = kept.get("type") == "clip_prediction"
        own = kept["window"] is not None
        replaced = self._window(found["window"], kept["window"], at) if own else fmean(self._replaced[track] or [0.0])
        if not clip:
            self._replaced[track].append(replaced)
        scores = [{score["name"]: score["probability"] for score in side["scores"]} for side in (found, kept)]
        if scores[0].keys() != scores[1].keys():
            self.faults.append(f"{at}: classes {sorted(scores[0])} instead of {sorted(scores[1])}")
            return
        for name, probability in scores[1].items():
            self._number(scores[0][name], probability, f"{at}: {name}", "scores", replaced)
        for key in ("valence", "arousal"):
            if key in found and key in kept:
                # Moving a share of the probability moves these by at most the width of their range, 2.
                self._number(found[key], kept[key], f"{at}: {key}", key, 2 * replaced)
        self._label(found, kept, at)
        self._rest(found, kept, at, ("scores", "label", "valence", "arousal", "uncertainty", "window" if own else ""))
        # The entropy of other frames is another one, and no bound on it is worth having.
        unread = ("entropy",) if replaced else ()
        self._rest(found.get("uncertainty"), kept.get("uncertainty"), f"{at}: uncertainty", unread)

    def _label(self, found: Json, kept: Json, at: str) -> None:
        order = [score["probability"] for score in found["scores"]]
        if order != sorted(order, reverse=True):
            self.faults.append(f"{at}: scores are not in descending order: {order}")
        if found["label"] != kept["label"]:
            best, second = (score["probability"] for score in kept["scores"][:2])
            text = f"{at}: label {found['label']} instead of {kept['label']} ({best:.3f}, the next {second:.3f})"
            (self.faults if best - second >= CLEAR else self.moved).append(text)

    def _window(self, found: Json | None, kept: Json, at: str) -> float:
        """Compare what a window is made of; return the share of its frames that are others."""
        if found is None or len(found["frames"]) != len(kept["frames"]):
            self.faults.append(f"{at}: window {found} instead of {kept}")
            return 1.0
        gone, new = (Counter(a["frames"]) - Counter(b["frames"]) for a, b in ((kept, found), (found, kept)))
        self.chosen += len(kept["frames"])
        self.equal += len(kept["frames"]) - gone.total()
        if new:
            self.moved.append(f"{at}: frames {sorted(new.elements())} instead of {sorted(gone.elements())}")
        self._rest(found, kept, f"{at}: window", ("frames", "span_ms") if new else ("frames",))
        return gone.total() / len(kept["frames"])

    def _rest(self, found: Any, kept: Any, at: str, unread: Sequence[str] = (), kind: str = "") -> None:
        """Compare all else: exactly, or within a tolerance what TOLERANCES names."""
        if isinstance(kept, Mapping) and isinstance(found, Mapping):
            if found.keys() != kept.keys():
                self.faults.append(f"{at}: fields {sorted(found)} instead of {sorted(kept)}")
            for key in [key for key in kept if key in found and key not in unread]:
                self._rest(found[key], kept[key], f"{at}: {key}", (), key if key in TOLERANCES else kind)
        elif isinstance(kept, list) and isinstance(found, list) and len(kept) == len(found):
            for i, (one, other) in enumerate(zip(found, kept, strict=True)):
                self._rest(one, other, f"{at}[{i}]", (), kind)
        elif kind and isinstance(kept, float) and isinstance(found, float):
            self._number(found, kept, at, kind)
        elif found != kept:
            self.faults.append(f"{at} is {found!r} instead of {kept!r}")

    def _number(self, found: float, kept: float, at: str, kind: str, more: float = 0.0) -> None:
        difference, allowed = abs(found - kept), TOLERANCES[kind] + more
        if not difference <= allowed:
            away = f"{difference:.3g} away; {allowed:.3g} is allowed"
            self.faults.append(f"{at} is {found:g} instead of {kept:g}, {away}")
        else:
            self.largest[kind] = max(self.largest[kind], difference)
