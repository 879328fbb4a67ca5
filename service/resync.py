"""A session's inputs made anew of a recording's frames alone, without the log of what the session took.

Owns numbering them again and, for a rig, matching them again. Promises only to be repeatable: what was superseded live is used here, and
ticks come at even steps of the recorded time. Does not own reading (`capture/playback.py`) or matching (`capture/rig.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from capture.ensemble import TICK_S
from capture.frame import Bundle, Clock, Frame, SourceInfo, SourceState, Tick, decoded
from capture.image import ImageBroken
from capture.playback import Playback
from capture.recorded import RecordingError
from capture.rig import Given, Rig, Told
from service.events import Rejected
from service.inputs import Input
from service.rig_file import RigFile

TICK_NS = round(TICK_S * 1e9)


def resynced(playback: Playback, rig: RigFile | None = None) -> Iterator[Input | Rejected]:
    """Yield a session's inputs: every frame of the one source, numbered anew; of a rig, bundles of all its frames.

    Raises:
        RecordingError: "no-pixels"; "resync-unsupported": it has frames of several sources and does not say of which rig.
    """
    if not playback.has_pixels:
        raise RecordingError("no-pixels", f"{playback.path}: was recorded with --features-only: there is nothing to replay")
    yield from _single(playback) if rig is None else _matched(playback, rig)


def _single(playback: Playback) -> Iterator[Input | Rejected]:
    clocks: dict[str, Clock] = {}
    number = 0
    for entry in playback.entries():
        if isinstance(entry, SourceInfo):
            clocks[entry.name] = entry.clock
        if not isinstance(entry, Frame):
            continue
        if len(clocks) > 1:
            names = ", ".join(sorted(clocks))
            raise RecordingError("resync-unsupported", f"{playback.path}: has the sources {names} and does not say of which rig")
        number += 1
        media = clocks.get(entry.source) == "media" and entry.device_t_ns is not None
        t_ns = entry.device_t_ns if media and entry.device_t_ns is not None else entry.arrival_t_ns
        clock = "media" if media else clocks.get(entry.source, "host")
        yield _decoded(Bundle(number, t_ns, clock, entry.arrival_t_ns, {entry.source: entry}))


def _matched(playback: Playback, file: RigFile) -> Iterator[Input | Rejected]:
    infos = {entry.name: entry for entry in playback.entries(frames=False) if isinstance(entry, SourceInfo)}
    # A source that never gave a frame has told nothing of itself.
    sources = [source.learned(infos[source.name]) if source.name in infos else source for source in file.rig_sources()]
    rig, now_ns = Rig(sources, file.tolerance_ns, file.deadline_ns), 0
    for entry in playback.entries():
        if isinstance(entry, Frame | SourceState):
            at_ns = entry.arrival_t_ns if isinstance(entry, Frame) else entry.since_ns
            now_ns = now_ns or at_ns
            while now_ns + TICK_NS < at_ns:
                now_ns += TICK_NS
                yield from _said(rig, Tick(now_ns))
            yield from _said(rig, entry)
    yield from (_decoded(bundle) for bundle in rig.flush())


def _said(rig: Rig, given: Given) -> Iterator[Input | Rejected]:
    told: Told
    for told in rig.advance(given):
        yield _decoded(told) if isinstance(told, Bundle) else told


def _decoded(bundle: Bundle) -> Bundle | Rejected:
    try:
        return replace(bundle, frames={name: decoded(frame) for name, frame in bundle.frames.items()})
    except ImageBroken as error:
        return Rejected(bundle.number, "image-broken", str(error))
