"""A recording's session, run again.

Owns the way from a recorded input log, or from recorded frames alone (resync), to the session's inputs, and the comparison with the
events that were recorded. Does not own reading (`capture/playback.py`), the log's words (`input_log.py`) or what a session means.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from capture.frame import Frame, decoded
from capture.image import ImageBroken
from capture.playback import Noted, Playback
from capture.recorded import RECORDING, Json, RecordingError
from service.events import Rejected, SessionEvent, line
from service.input_log import EVENTS, INPUTS, given
from service.inputs import Change, Input
from service.messages import Dropped
from service.pipeline import Pipeline
from service.rig_file import RigFile


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the recorded session was made of: ids and sha256 prefixes of model and detector, its settings, and the rig it looked at, if
    it was one (without the secrets of its cameras)."""

    model: str
    model_sha256: str
    detector: str
    detector_sha256: str
    backend: str
    faces: int
    hop: int | None
    rig: RigFile | None = None


def recipe_of(playback: Playback) -> Recipe:
    """Return what the recorded session was made of.

    Raises:
        RecordingError: "recording-broken": the recording does not say.
    """
    try:
        about = json.loads(playback.metadata[RECORDING]["session"])
        rig = about.pop("rig", None)
        return Recipe(**about, rig=None if rig is None else RigFile.model_validate(rig))
    except (KeyError, TypeError, ValueError) as error:
        raise RecordingError("recording-broken", f"{playback.path}: does not say what its session was made of: {error!r}") from None


@dataclass(slots=True)
class Verdict:
    """How a replay compares with the recording: events of each, and the first line (from 1) in which they differ.

    A recording that was cut off, or ended by an error (`cut`), may lack events that its last inputs brought about: that is no difference.
    """

    replayed: int = 0
    recorded: int = 0
    differs_at: int | None = None
    cut: bool = False
    _ahead: deque[str] = field(default_factory=deque)
    _behind: deque[str] = field(default_factory=deque)

    @property
    def equal(self) -> bool:
        """Whether no line differs and none is missing."""
        complete = self.replayed >= self.recorded if self.cut else self.replayed == self.recorded
        return self.differs_at is None and complete

    def heard(self, said: str) -> None:
        """Take in a replayed line."""
        self.replayed += 1
        self._ahead.append(said)
        self._meet()

    def read(self, said: str) -> None:
        """Take in a recorded line."""
        self.recorded += 1
        self._behind.append(said)
        self._meet()

    def _meet(self) -> None:
        while self._ahead and self._behind:
            if self._ahead.popleft() != self._behind.popleft() and self.differs_at is None:
                self.differs_at = min(self.replayed, self.recorded)


class Replay:
    """Feeds a recorded input log to a session. `load` is called with a model's id before a Change that names it."""

    def __init__(self, playback: Playback, pipeline: Pipeline, load: Callable[[str], object]) -> None:
        self.verdict = Verdict()
        self._playback, self._pipeline, self._load = playback, pipeline, load
        self._frames: dict[str, dict[int, Frame]] = {}

    def events(self) -> Iterator[SessionEvent]:
        """Yield what the session says, in order.

        Raises:
            RecordingError: the recording has no pixels, or cannot be read.
        """
        if not self._playback.has_pixels:
            raise RecordingError("no-pixels", f"{self._playback.path}: was recorded with --features-only: there is nothing to replay")
        taken = self._taken()
        for entry in self._playback.entries():
            if isinstance(entry, Frame):
                # What the session never took is not kept until it ends: a source's frames may all be of no use.
                if entry.seq not in taken.get(entry.source, ()):
                    continue
                self._frames.setdefault(entry.source, {})[entry.seq] = entry
            elif isinstance(entry, Noted) and entry.topic == EVENTS:
                self.verdict.read(_text(entry.body))
            elif isinstance(entry, Noted) and entry.topic == INPUTS:
                for event in self._said(given(entry.body, self._frame)):
                    self.verdict.heard(line(event))
                    yield event
        self.verdict.cut = not self._playback.whole
        yield from self._pipeline.finish()

    def _taken(self) -> dict[str, set[int]]:
        """Return the numbers of the frames that the log names, by source."""
        taken: dict[str, set[int]] = {}
        for entry in self._playback.entries(frames=False):
            if isinstance(entry, Noted) and entry.topic == INPUTS and isinstance(entry.body.get("frames"), dict):
                for source, named in entry.body["frames"].items():
                    if isinstance(named, dict) and isinstance(named.get("seq"), int):
                        taken.setdefault(source, set()).add(named["seq"])
        return taken

    def _said(self, taken: Input | Dropped | Rejected) -> tuple[SessionEvent, ...]:
        if isinstance(taken, Dropped):
            return ()
        if isinstance(taken, Rejected):
            return (taken,)
        if isinstance(taken, Change) and taken.model is not None:
            self._load(taken.model)
        return self._pipeline.push(taken)

    def _frame(self, source: str, seq: int) -> Frame:
        frames = self._frames.get(source, {})
        try:
            frame = decoded(frames[seq])
        except KeyError:
            raise RecordingError(
                "recording-broken", f"the input log names frame {seq} of {source!r}, which was not recorded before"
            ) from None
        except ImageBroken as error:
            raise RecordingError(
                "recording-broken", f"frame {seq} of {source!r} does not decode, but the session had it: {error}"
            ) from None
        # Bundles never cross: what is older is not taken any more; this one may be held.
        for older in [number for number in frames if number < seq]:
            del frames[older]
        frames[seq] = frame
        return frame


def _text(body: Json) -> str:
    # JSON keeps the order of keys and the shortest form of each number: this is the line as it was written.
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
