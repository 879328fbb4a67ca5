"""Faces over time: detections matched to tracks.

Owns numbering, confirmation, coasting and ending, by SEMANTICS ("Tracks"). Does not own detection or samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.events import Box
from service.inputs import Detection

MATCH_IOU = 0.3


@dataclass(frozen=True, slots=True)
class Track:
    """One face through time. `face`: its last detection; `matched`: seen in the newest frame; `streak`: frames in a
    row it was seen while tentative; `seen_ns`: session time it was last seen."""

    number: int
    face: Detection
    matched: bool
    confirmed: bool
    streak: int
    seen_ns: int


class Tracker:
    """The tracks of one session. A face matched in `confirm_frames` used frames in a row is confirmed."""

    __slots__ = ("_confirm", "_next", "tracks")

    def __init__(self, confirm_frames: int) -> None:
        self._confirm = confirm_frames
        self._next = 1
        self.tracks: tuple[Track, ...] = ()

    def update(self, t_ns: int, faces: Sequence[Detection], gap_ns: int) -> tuple[int, ...]:
        """Match a used frame's faces to the tracks; return the numbers of the tracks that ended.

        A track not seen for more than `gap_ns` has ended before this frame; a tentative one ends at its first miss.
        """
        before = {track.number for track in self.tracks}
        alive = [track for track in self.tracks if t_ns - track.seen_ns <= gap_ns]
        pairs = match([track.face.box for track in alive], [face.box for face in faces])
        tracks: list[Track] = []
        for index, track in enumerate(alive):
            if index in pairs:
                streak = track.streak + 1
                tracks.append(Track(track.number, faces[pairs[index]], True, track.confirmed or streak >= self._confirm, streak, t_ns))
            elif track.confirmed:
                tracks.append(replace(track, matched=False))
        taken = set(pairs.values())
        for index, face in enumerate(faces):
            if index not in taken:
                tracks.append(Track(self._next, face, True, self._confirm <= 1, 1, t_ns))
                self._next += 1
        self.tracks = tuple(tracks)
        return tuple(sorted(before - {track.number for track in tracks}))

    def expire(self, t_ns: int, gap_ns: int) -> tuple[int, ...]:
        """End tracks not seen for more than `gap_ns` at `t_ns`, with no frame to match; return their numbers."""
        ended = tuple(track.number for track in self.tracks if t_ns - track.seen_ns > gap_ns)
        self.tracks = tuple(track for track in self.tracks if track.number not in ended)
        return ended

    def reset(self) -> tuple[int, ...]:
        """End every track; numbers go on. Return the ended ones."""
        ended = tuple(track.number for track in self.tracks)
        self.tracks = ()
        return ended


def keep(tracks: Sequence[Track], n: int) -> tuple[Track, ...]:
    """Return the n tracks that are reported, in the order of their numbers: confirmed first, then the larger box, then
    the lower number."""
    ranked = sorted(tracks, key=lambda t: (not t.confirmed, -area(t.face.box), t.number))
    return tuple(sorted(ranked[:n], key=lambda t: t.number))


def match(old: Sequence[Box], new: Sequence[Box]) -> dict[int, int]:
    """Pair boxes one to one, greatest overlap first, none below `MATCH_IOU`; ties to the lower indices."""
    overlaps = sorted((-iou(a, b), i, j) for i, a in enumerate(old) for j, b in enumerate(new) if iou(a, b) >= MATCH_IOU)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in overlaps:
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return pairs


def area(box: Box) -> float:
    """Return a box's area in square pixels, 0 for an inverted one."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, in [0, 1]."""
    common = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = area(a) + area(b) - common
    return common / union if union > 0.0 else 0.0
