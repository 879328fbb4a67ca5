"""A clip or image through a session of its own: the loop behind `mien analyze` and whatever else reads files.

Owns composition (models, perception, batcher: built once) and one input's run: frames numbered, timed by their PTS,
pushed, counted. Does not own files' names (`intake.py`), output (`reports.py`) or what a session means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from capture.driver import Driver, EndOfStream, SourceError
from capture.frame import Bundle, Frame, SourceInfo
from service.chosen import detector_of, open_models, settled
from service.config import Config
from service.events import Event, Rejected, SessionEvent
from service.inputs import Perception
from service.intake import Source, Still, open_source, shown
from service.messages import Timing
from service.models import Model, Models
from service.perception import pixels
from service.pipeline import Pipeline
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions, Taken, Uncalibrated

_SLACK_NS = 500_000_000


@dataclass(slots=True)
class Tally:
    """Frames of one input: `expected` as its container announces (None: it does not); `decoded`; `errors`: decoded but not
    sound or not usable; `with_face`: at least one face was reported. `partial`: it ended early, and that was allowed."""

    expected: int | None
    decoded: int = 0
    errors: int = 0
    with_face: int = 0
    partial: bool = False

    def read(self, corrupt: bool) -> None:
        """Count a decoded frame."""
        self.decoded += 1
        self.errors += corrupt

    def said(self, event: SessionEvent) -> None:
        """Count what was said of one."""
        if isinstance(event, Event):
            self.with_face += bool(event.faces)
        elif isinstance(event, Rejected):
            self.errors += 1

    def cut_short(self, duration_ns: int | None, last_ns: int) -> bool:
        """Tell whether a clip ended before what its container announces: decoders end a truncated file without a word."""
        if self.expected is None or duration_ns is None:
            return False
        # Both must say so: edit lists hide frames that the container counts, and durations include the sound.
        return last_ns + _SLACK_NS < duration_ns and self.decoded < 0.98 * self.expected


class Analysis:
    """One input under way: iterate it once to the end. `info` is known from the start, `tally` grows."""

    def __init__(self, source: Source, driver: Driver, pipeline: Pipeline, allow_partial: bool) -> None:
        self.source = source
        self.info: SourceInfo = driver.open()
        self.tally = Tally(self.info.frames)
        self._driver = driver
        self._pipeline = pipeline
        self._allow_partial = allow_partial

    def __iter__(self) -> Iterator[tuple[SessionEvent, Timing]]:
        """Yield every event with what it cost, in order; clip predictions come last.

        Raises:
            SourceError: the input cannot be read on, is empty, or ends before its announced end.
            EngineError: a graph failed.
        """
        timing, last = Timing(0, 0, 0, 0, 0), None
        try:
            while True:
                begun = time.monotonic_ns()
                try:
                    frames = self._driver.read()
                except EndOfStream:
                    break
                if not frames:
                    continue
                read = time.monotonic_ns()
                self.tally.read(any("corrupt" in frame.flags for frame in frames))
                last = bundle = _bundle(self.tally.decoded, frames)
                events = self._pipeline.push(bundle)
                done = time.monotonic_ns()
                timing = Timing(bundle.arrival_ns, read - begun, 0, done - read, done)
                for event in events:
                    self.tally.said(event)
                    yield event, timing
        finally:
            self._driver.close()
        self._check_whole(last)
        begun = time.monotonic_ns()
        events = self._pipeline.finish()
        done = time.monotonic_ns()
        for event in events:
            yield event, Timing(timing.arrival_ns, 0, 0, done - begun, done)

    def _check_whole(self, last: Bundle | None) -> None:
        """Refuse a clip that stopped early, or mark it."""
        name, expected, duration = shown(self.source.name), self.info.frames, self.info.duration_ns
        if last is None:
            raise SourceError("empty-clip", f"{name} has no frames")
        if not self.tally.cut_short(duration, last.t_ns):
            return
        if not self._allow_partial:
            assert duration is not None
            raise SourceError(
                "clip-truncated",
                f"{name} ends at {last.t_ns / 1e9:.2f} s of {duration / 1e9:.2f} s: {self.tally.decoded} of {expected} frames decoded; "
                "--allow-partial takes what there is",
            )
        self.tally.partial = True


class Analyser:
    """Models, perception and batcher for any number of inputs, one after the other."""

    def __init__(self, models: Models, model: Model, perception: Perception, faces: int, hop: int | None) -> None:
        self.model = model
        self._models = models
        self._perception = perception
        self._batcher = Batcher(models.engines, models.max_batch)
        self._faces = faces
        self._hop = hop

    @classmethod
    def create(cls, config: Config) -> Analyser:
        """Load what `config` names.

        Raises:
            UnknownModel: there is no such model, or it is of another kind.
            EngineError: a model folder or runtime cannot be used.
        """
        config = settled(config)
        models = open_models(config)
        try:
            detector = detector_of(models, config)
            models.load(detector.id)
            return cls(models, models.load(config.model.id), pixels.create(detector), config.session.faces, config.session.hop)
        except BaseException:
            models.close()
            raise

    def open(
        self, source: Source, on_sample: Callable[[Taken], None] | None = None, allow_partial: bool = False,
        on_window: Callable[[Uncalibrated], None] | None = None,
    ) -> Analysis:  # fmt: skip
        """Open one input in a fresh session; an image is a session of one frame with hop 1 and confirm 1.

        Raises:
            SourceError: it cannot be read.
        """
        driver = open_source(source)
        still = isinstance(driver, Still)
        options = SessionOptions(
            faces=self._faces,
            hop=1 if still else self._hop,
            confirm_frames=1 if still else None,
            ends=True,
            on_sample=on_sample,
            on_window=on_window,
        )
        return Analysis(source, driver, Pipeline(Session(self.model, self._perception, options), self._batcher), allow_partial)

    def close(self) -> None:
        """Release the engines."""
        self._models.close()

    def __enter__(self) -> Analyser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def analyse(source: Source, analyser: Analyser) -> Iterator[SessionEvent]:
    """Yield every event of one input, clip predictions last.

    Raises:
        SourceError: it cannot be read, or not to its end.
        EngineError: a graph failed.
    """
    for event, _ in analyser.open(source):
        yield event


def _bundle(number: int, frames: list[Frame]) -> Bundle:
    """Return a read's frames as the session's next input; its time is the PTS of the colour frame."""
    color = next((frame for frame in frames if frame.modality == "color"), frames[0])
    if color.device_t_ns is None:
        raise SourceError("no-time", f"frame {number} of {shown(color.source)} has no presentation time")
    arrival_ns = max(frame.arrival_t_ns for frame in frames)
    return Bundle(number, color.device_t_ns, "media", arrival_ns, {frame.source: frame for frame in frames})
