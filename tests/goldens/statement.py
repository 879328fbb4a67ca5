"""What a person sees in a clip, beside what mien says of it.

Owns the reading of `CLIP.toml`, written by hand, and what in a run's events contradicts it. Does not own what a golden
keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from sys import version_info
from typing import Any

from tests.goldens.record import HERE

if version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Json = Mapping[str, Any]
OVERLAP = 0.5
"""A face is where the statement says if the boxes' intersection is at least this part of their union: finders take
more or less of forehead and chin, and nobody marks by hand to the pixel."""
FALSE_ALARMS = 0.05
"""A finder may be wrong for a moment: in this part of the frames without anybody a face may be tentative, never more
than that."""


def path(clip: str) -> Path:
    """Where a clip's statement stands."""
    return HERE / f"{clip}.toml"


def read(clip: str) -> Json:
    """The statement of a clip: `shows`, `frames` (how many), `people`: each `present` from frame to frame, `at` places
    `{frame, box}` in pixels, and `looks` `{frames, like}`."""
    return tomllib.loads(path(clip).read_text(encoding="utf-8"))


def contradictions(statement: Json, events: Sequence[Json]) -> list[str]:
    """Return what the events of a run say otherwise than the statement, in words."""
    frames = {event["frame"]: event for event in events if event["type"] == "result"}
    wrong = [] if len(frames) == statement["frames"] else [f"{len(frames)} frames; the clip has {statement['frames']}"]
    people = statement.get("people", [])
    people_in = {n: sum(person["present"][0] <= n <= person["present"][1] for person in people) for n in frames}
    for number, event in frames.items():
        there = people_in[number]
        # A person is believed from the third frame on; in a picture at once.
        believed = all(number >= person["present"][0] + 2 for person in people) or len(frames) == 1
        found = [face for face in event["faces"] if face["score"] is not None and not face["tentative"]]
        if len(found) > there or (believed and len(found) < there):
            wrong.append(f"frame {number}: {len(found)} people; there are {there}")
        if not there and any(face["prediction"] for face in event["faces"]):
            wrong.append(f"frame {number}: a prediction where there is nobody")
    empty = [event for number, event in frames.items() if not people_in[number]]
    alarms = [e["frame"] for e in empty if any(face["tentative"] for face in e["faces"])]
    if len(alarms) > FALSE_ALARMS * len(empty):
        wrong.append(f"{len(alarms)} of {len(empty)} frames without anybody have a tentative face: {alarms}")
    return [*wrong, *(text for person in people for text in _person(person, frames, events))]


def _person(person: Json, frames: Mapping[int, Json], events: Sequence[Json]) -> Iterator[str]:
    tracks = set()
    for place in person["at"]:
        faces = [face for face in frames[place["frame"]]["faces"] if face["score"] is not None]
        overlaps = {face["track"]: _overlap(face["bbox"], place["box"]) for face in faces}
        best = max(overlaps, key=lambda track: overlaps[track], default=None)
        if best is None or overlaps[best] < OVERLAP:
            yield f"frame {place['frame']}: no face at {place['box']}; found: {[face['bbox'] for face in faces]}"
        tracks.add(best)
    if len(tracks) != 1:
        yield f"one person is {len(tracks)} tracks: {tracks}"
    for look in person["looks"]:
        labels = list(_labels(tracks, look["frames"], events))
        if not labels:
            yield f"no window lies within frames {look['frames']}, where the face looks {look['like']}"
        for at, label in labels:
            if label != look["like"]:
                yield f"{at}: {label}; the face looks {look['like']}"


def _labels(tracks: set[Any], within: Sequence[int], events: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Return the labels of all windows, of `tracks`, that lie within two frames."""
    first, last = within
    for event in events:
        faces = [event] if event["type"] == "clip_prediction" else event["faces"]
        for face in faces:
            opinion = face if event["type"] == "clip_prediction" else face["prediction"]
            frames = opinion["window"]["frames"] if opinion and opinion["window"] else []
            if face["track"] in tracks and frames and first <= frames[0] and frames[-1] <= last:
                yield f"window {frames[0]} to {frames[-1]}", opinion["label"]


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection of two boxes as a part of their union."""
    width, height = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
