"""A live session, recorded: its source's frames, its input log and what it said.

Owns what of a session goes on the tape, and one recording's run from opening its camera to the end. Does not own the file
(`capture/tape.py`), the log's words (`input_log.py`) or flags (`commands/recording.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from capture.frame import Frame, SourceInfo, SourceState
from capture.recorded import Json, RecordingError, dumped, strings
from capture.recorder import MAX_BYTES, Line, Recorder
from capture.tape import Note, Tape
from service.cameras import Camera, open_camera
from service.events import ClipPrediction, Event, Rejected, SourceEvent, line
from service.feed import FeedOptions
from service.input_log import EVENT_SCHEMA, EVENTS, FEATURE_SCHEMA, FEATURES, INPUT_SCHEMA, INPUTS, entry, loss
from service.inputs import Input
from service.ledger import Counts
from service.live import LiveLoop
from service.messages import Dropped, Failure, Output
from service.rig_file import RigFile
from service.rigs import RigCamera, open_rig
from service.settings import Taken

LAST_S = 5.0
"""How long the frames of a source that has ended may take to be used."""
_POLL_S = 0.05


class SessionTape:
    """What a session's feed and camera tell, put on a recorder in the order in which they tell it.

    `listener` gets every output, and a Failure when the recording fails. It is called by several threads.
    """

    def __init__(self, tape: Tape, listener: Callable[[Output], object], max_bytes: int = MAX_BYTES) -> None:
        self.recorder = Recorder(tape, self._failed, max_bytes=max_bytes)
        self.failed = threading.Event()
        self.frames = self.events = self.features = 0
        self._listener = listener

    # The camera's tap, on its capture thread.

    def noticed(self, state: SourceState) -> None:
        """Record what became of the source, when it was noticed (the session takes it later)."""
        self.recorder.put(state)

    def read(self, info: SourceInfo, frames: list[Frame]) -> None:
        """Record what a read gave."""
        self.recorder.put(info, *frames)
        self.frames += len(frames)

    # The feed's log and its owner, mostly on the rounds thread.

    def taken(self, given: Input) -> None:
        """Record an input that the session took."""
        self._note(INPUTS, INPUT_SCHEMA, dumped(entry(given)))

    def lost(self, lost: Dropped | Rejected) -> None:
        """Record what never reached the session."""
        self._note(INPUTS, INPUT_SCHEMA, dumped(loss(lost)))

    def publish(self, output: Output) -> None:
        """Record what was said, and hand it on."""
        said = output.message
        if isinstance(said, Event | ClipPrediction | Rejected | SourceEvent):
            self._note(EVENTS, EVENT_SCHEMA, line(said).encode())
            self.events += 1
        if isinstance(said, SourceEvent):
            self.recorder.put(Line("warning", said.name, f"source {said.name}: {said.state}", time.monotonic_ns()))
        elif isinstance(said, Failure):
            self.recorder.put(Line("error", "mien", f"{said.code}: {said.detail}", time.monotonic_ns()))
        self._listener(output)

    def sampled(self, taken: Taken, feature: str) -> None:
        """Record a sample's feature vector: the output of that name, or what keyframes are chosen by. Never its crops."""
        values = taken.outputs[feature] if taken.feature is None else taken.feature
        vector = np.asarray(values, np.float32).reshape(-1).tolist()
        self._note(FEATURES, FEATURE_SCHEMA, dumped({"track": taken.track, "frame": taken.frame, "t_ns": taken.t_ns, "feature": vector}))
        self.features += 1

    def _note(self, topic: str, schema: Json, data: bytes) -> None:
        self.recorder.put(Note(topic, schema, data, time.monotonic_ns()))

    def _failed(self, error: RecordingError) -> None:
        self.failed.set()
        self._listener(Output(Failure(error.code, str(error), retryable=False)))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording holds: frames of all sources, events, feature vectors; and the session's ledger."""

    frames: int
    events: int
    features: int
    counts: Counts


class LiveRecording:
    """One camera through the live loop, recorded. `feature`: the model's output of which vectors are recorded, None for none;
    `max_bytes`: what may wait for the disk."""

    def __init__(
        self, loop: LiveLoop, tape: Tape, listener: Callable[[Output], object], feature: str | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        self._loop = loop
        self._tape = SessionTape(tape, listener, max_bytes)
        self._feature = feature
        self._camera: Camera | RigCamera | None = None

    @property
    def camera(self) -> Camera | RigCamera:
        """The camera, once it is open."""
        assert self._camera is not None
        return self._camera

    def start(self, name: str, source: str | RigFile, options: FeedOptions) -> None:
        """Open a camera by its URI, or a rig, and begin.

        Raises:
            SourceError: the source cannot be opened.
            Overloaded: no room for a session.
        """
        feature, tape = self._feature, self._tape
        on_sample = None if feature is None else lambda taken: tape.sampled(taken, feature)
        options = replace(options, log=tape, on_sample=on_sample)
        if isinstance(source, RigFile):
            self._camera = open_rig(self._loop, name, source, options, tape.publish, tape)
        else:
            self._camera = open_camera(self._loop, name, source, options, tape.publish, tape)
        tape.recorder.start()

    def run(self, stop: threading.Event, duration_s: float | None = None) -> None:
        """Wait until `stop` is set, `duration_s` has passed, the source has ended, or the recording has failed."""
        until = None if duration_s is None else time.monotonic() + duration_s
        while not stop.wait(_POLL_S) and not self._tape.failed.is_set() and self._loop.error is None:
            if self.camera.over or (until is not None and time.monotonic() >= until):
                break
        if self.camera.over:
            # What the source gave last is still to be used.
            last = time.monotonic() + LAST_S
            while time.monotonic() < last and (self.camera.feed.waiting or self.camera.feed.ledger.in_flight):
                time.sleep(_POLL_S)  # the rounds thread uses it up; it tells nobody when it is through

    def stop(self, reason: str = "stopped") -> Recorded:
        """Close camera, session and file.

        Raises:
            RecordingError: what ended the recording.
            SourceError: the source had failed before.
        """
        feed, tape = self.camera.feed, self._tape
        try:
            self.camera.close()
        finally:
            self._loop.stop(LAST_S)
            counts = feed.ledger.counts()
            tape.recorder.close(strings({
                "reason": reason, "received": counts.received, "used": counts.used, "dropped": dict(counts.dropped),
                "rejected": dict(counts.rejected),
            }))  # fmt: skip
        return Recorded(tape.frames, tape.events, tape.features, counts)
