"""One stream of frames and what it says: the pure core.

Owns the order of things inside a session: clock, detection, tracks, sampling, buffers, due frames, windows, events; and
what happens at a Change and at the end. Does not own what a sample is (`admission.py`), a thread, a queue, a clock reading,
a graph or a pixel: it asks for graph runs by `Step.requests` and is handed their results. See SEMANTICS.md, which it follows to the letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from capture.frame import Bundle, SourceState
from capture.image import ImageBroken
from service.admission import admit, is_sampled
from service.clock import SessionClock
from service.events import (
    GPU_MEMORY,
    ClipPrediction,
    Event,
    FaceEvent,
    NoCall,
    NoCallCode,
    Prediction,
    Rejected,
    SessionEvent,
    SourceEvent,
    Sync,
)  # fmt: skip
from service.inputs import Asking, Change, Failed, Input, Perception, Request, Result, Step
from service.models import Model
from service.perception.track import Track, Tracker, keep
from service.settings import SessionOptions, Settings, Uncalibrated
from service.windows import value as values
from service.windows.buffer import Buffer
from service.windows.record import Record
from service.windows.sampling import Sampler
from service.windows.trace import Trace, track_mean
from service.windows.value import Value
from service.windows.window import Window, choose, of_clip


class Session:
    """Takes inputs one at a time: `advance`, then `complete` until a Step has no requests; `finish` at the end."""

    def __init__(self, model: Model, perception: Perception, options: SessionOptions) -> None:
        self.options = options
        self.settings = Settings.of(model, options.hop, options.period_ms, options.faces, options.given)
        self._perception = perception
        self._clock = SessionClock()
        self._tracker = Tracker(options.confirm_frames or perception.confirm_frames)
        self._records: dict[int, Record] = {}
        self._ended: dict[int, Record] = {}
        self._running: Asking[tuple[SessionEvent, ...]] | None = None
        self._trace = self._new_trace()
        self._restart()

    def _restart(self) -> None:
        """Begin counting anew under the settings in force."""
        period_ms, window = self.settings.period_ms, self.settings.manifest.window
        self._sampler = Sampler(None if period_ms is None else round(period_ms * 1e6))
        self._sampled = 0
        # Over a clip of known end, a model of clip scope is asked once, at the end: no frame is due.
        self._only_at_end = window.scope == "clip" and self.options.ends

    def _new_trace(self) -> Trace | None:
        return Trace() if self.settings.manifest.window.clip == "trace-mean" and self.options.ends else None

    # The three doors.

    def advance(self, given: Input) -> Step:
        """Take one input.

        Raises:
            ValueError: a Change names a model that is not loaded, or a value out of range; nothing has changed then.
        """
        if self._running is not None:
            raise RuntimeError("advance before the last input was completed")
        if isinstance(given, Bundle):
            return self._resume(self._bundle(given), None)
        if isinstance(given, SourceState):
            if given.state == "timebase-reset":
                self._reset()
            return Step(events=(SourceEvent(given.source, given.state, given.modality, given.since_ns),))
        if isinstance(given, Change):
            self._change(given)
        elif self._clock.kind == "host":  # a Tick: host time says nothing about other clocks
            self._end(self._tracker.expire(given.t_ns, self.settings.gap_ns))
        return Step()

    def complete(self, results: Sequence[Result]) -> Step:
        """Hand in the results of the last Step's requests, in their order."""
        if self._running is None:
            raise RuntimeError("complete without requests")
        return self._resume(self._running, results)

    def finish(self) -> Step:
        """The input has ended: say a clip prediction per confirmed track, if the session is of a kind that ends."""
        return self._resume(self._finish(), None) if self.options.ends else Step()

    def _resume(self, work: Asking[tuple[SessionEvent, ...]], results: Sequence[Result] | None) -> Step:
        self._running = work
        try:
            return Step(requests=tuple(next(work) if results is None else work.send(results)))
        except StopIteration as done:
            self._running = None
            return Step(events=done.value)

    # Inputs that are no frames.

    def _change(self, change: Change) -> None:
        before, self.settings = self.settings, self.settings.changed(change, self.options.models)
        self._restart()
        if self.settings.model is not before.model:
            self._trace = self._new_trace()
            for record in (*self._records.values(), *self._ended.values()):
                record.clear(self._buffer())

    def _buffer(self) -> Buffer:
        window = self.settings.manifest.window
        return Buffer(None if self._only_at_end else window.buffer, window.frames)

    def _reset(self) -> None:
        self._end(self._tracker.reset())
        self._sampler.restart()

    def _end(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            record = self._records.pop(number, None)
            if record is not None and record.confirmed and self.options.ends:
                self._ended[number] = record

    # A frame.

    def _bundle(self, bundle: Bundle) -> Asking[tuple[SessionEvent, ...]]:
        judged = self._clock.judge(bundle, self.settings.gap_ns)
        if isinstance(judged, Rejected):
            return (judged,)
        color = bundle.frame("color")
        if color is not None and "corrupt" in color.flags:
            # A decoder fills what is missing with something that looks like a picture: no label may rest on it.
            return (Rejected(bundle.number, "image-broken", "the decoder found damage in this frame and covered it up"),)
        try:
            request = self._perception.detect(bundle)
        except ImageBroken as error:
            return (Rejected(bundle.number, "image-broken", str(error)),)
        (found,) = yield (request,)
        if isinstance(found, Failed):
            return (Rejected(bundle.number, GPU_MEMORY if found.full else found.code, found.detail),)
        events: list[SessionEvent] = []
        if judged == "reset":
            self._reset()
            events.append(SourceEvent(color.source if color else "", "timebase-reset", "color", bundle.t_ns))
        self._clock.last_ns = bundle.t_ns
        self._end(self._tracker.update(bundle.t_ns, self._perception.faces(bundle, found), self.settings.gap_ns))
        tracks = keep(self._tracker.tracks, self.settings.faces)
        self._note(bundle.number, tracks)
        sampled = self._sampler.admit(bundle.t_ns)
        self._sampled += sampled
        due = sampled and not self._only_at_end and self._sampled % self.settings.hop == 0
        refused = (yield from self._admit(bundle, tracks)) if sampled else {}
        told = (yield from self._predict(bundle, tracks, refused)) if due else {}
        faces = []
        for track in tracks:
            in_buffer = sampled and is_sampled(track, self.settings) and track.number not in refused
            code = self._no_call(track, due, refused.get(track.number), told.get(track.number))
            faces.append(self._report(track, in_buffer, code, told.get(track.number)))
        settings, no_face = self.settings, due and not tracks
        event = Event(
            bundle.number, bundle.t_ns, due, tuple(faces), "no-face" if no_face else None,
            settings.model.name, settings.model.backend, settings.weights,
        )  # fmt: skip
        if self._trace is not None:
            self._trace.add(event)
        return (*events, event)

    def _note(self, number: int, tracks: Sequence[Track]) -> None:
        for track in tracks:
            record = self._records.get(track.number)
            if record is None:
                record = self._records[track.number] = Record(self._buffer(), number, number)
            record.confirmed = track.confirmed
            if track.matched:
                record.last = number

    def _admit(self, bundle: Bundle, tracks: Sequence[Track]) -> Asking[dict[int, NoCallCode]]:
        """Put the frame's samples into the buffers; return why not, for those whose sample did not enter."""
        return admit(bundle, tracks, self._records, self.settings, self._perception, self.options.on_sample)

    def _predict(
        self, bundle: Bundle, tracks: Sequence[Track], refused: Mapping[int, NoCallCode]
    ) -> Asking[dict[int, Prediction | NoCallCode]]:
        """Run the window of every track that can have one; return what it says, or why it says nothing."""
        windows: dict[int, Window] = {}
        for track in tracks:
            samples = self._records[track.number].buffer.samples
            if track.matched and track.confirmed and track.number not in refused and len(samples) >= self.settings.manifest.window.frames:
                windows[track.number] = choose(samples, self.settings.manifest, self.settings.model.itq is not None)
        found = yield from self._values(list(windows.values()))
        told: dict[int, Prediction | NoCallCode] = {}
        for (number, window), value in zip(windows.items(), found, strict=True):
            if isinstance(value, Failed):
                told[number] = value.code
            elif not value.finite:
                told[number] = "not-finite"
            else:
                spoken = self._records[number].say(value, self.settings, self.options.ends)
                told[number] = self._say(bundle, window, self._calibrated(number, window, spoken))
        return told

    def _values(self, windows: Sequence[Window]) -> Asking[list[Value | Failed]]:
        """Return what each window says: the aggregate of its frames, or the run of the window or full graph."""
        manifest, part = self.settings.manifest, self.settings.window_part
        if part is None or not windows:
            return [values.aggregate(window, manifest) for window in windows]
        rows = yield [Request((manifest.id, part), {name: w.stacked(name) for name in self.settings.kept}) for w in windows]
        return [row if isinstance(row, Failed) else values.of_outputs(row, manifest) for row in rows]

    def _calibrated(self, number: int, window: Window, value: Value) -> Value:
        """Return the value that is said, the one before it handed to whoever fits a calibration."""
        if self.options.on_window is not None and value.probabilities is not None:
            self.options.on_window(Uncalibrated(number, window.of.frames[-1], window.of.filled, value.probabilities))
        return values.calibrated(value, self.settings.manifest)

    def _say(self, bundle: Bundle, window: Window, value: Value) -> Prediction:
        manifest = self.settings.manifest
        scores = values.scores(value, manifest)
        modalities = tuple(sorted({crop.modality for crop in manifest.crops.values()}))
        sync = Sync(modalities, bundle.held, {name: skew / 1e6 for name, skew in bundle.skew_ns.items()}, bundle.clock)
        affect, uncertainty = values.affect(value, manifest), values.uncertainty(value, manifest)
        return Prediction(scores, scores[0].name if scores else None, affect, window.of, sync, uncertainty)

    def _no_call(self, track: Track, due: bool, refused: NoCallCode | None, told: Prediction | NoCallCode | None) -> NoCallCode | None:
        """Return the first code that applies, in SEMANTICS' order; None: a prediction, or not a frame for either."""
        if not track.matched:
            return "face-lost"
        if not due or isinstance(told, Prediction):
            return None
        broken = refused in ("not-finite", "backend-lost")
        if refused is not None and not broken:
            return refused
        filling = not track.confirmed or len(self._records[track.number].buffer) < self.settings.manifest.window.frames
        return "window-filling" if filling else told or refused

    def _report(self, track: Track, sampled: bool, code: NoCallCode | None, told: Prediction | NoCallCode | None) -> FaceEvent:
        filled = min(1.0, len(self._records[track.number].buffer) / self.settings.manifest.window.frames)
        return FaceEvent(
            track.number, track.face.box, track.face.keypoints, track.face.score if track.matched else None,
            not track.confirmed, sampled, told if isinstance(told, Prediction) else None, None if code is None else NoCall(code, filled),
        )  # fmt: skip

    # The end.

    def _finish(self) -> Asking[tuple[SessionEvent, ...]]:
        settings = self.settings
        records = {number: record for number, record in sorted((self._ended | self._records).items()) if record.confirmed}
        short = {n: list(r.buffer.samples) for n, r in records.items() if r.windows == 0 and r.buffer.samples}
        windows = {n: of_clip(samples, settings.manifest, settings.model.itq is not None) for n, samples in short.items()}
        found = dict(zip(windows, (yield from self._values(list(windows.values()))), strict=True))
        events: list[SessionEvent] = []
        for number, record in records.items():
            value, window = found.get(number), windows.get(number)
            if record.total is not None:
                value = self._averaged(number) if self._trace is not None else values.scaled(record.total, 1.0 / record.windows)
            elif isinstance(value, Value) and value.finite and window is not None:
                value = self._calibrated(number, window, value)
            if isinstance(value, Value) and value.finite:
                scores = values.scores(value, settings.manifest)
                events.append(ClipPrediction(
                    number, scores, scores[0].name if scores else None, values.affect(value, settings.manifest),
                    window.of if window else None, record.windows or 1, window.of.filled if window else 1.0,
                    (record.first, record.last), settings.model.name, settings.model.backend, settings.weights,
                ))  # fmt: skip
        return tuple(events)

    def _averaged(self, number: int) -> Value:
        """Return the mean of a track's trace: overlapping windows averaged per frame first, then over frames."""
        assert self._trace is not None
        row = track_mean([v for v in self._trace.values() if v.track == number])
        by_name = dict(zip(self._trace.labels, row[:-2].tolist(), strict=True))
        labels, predicted = self.settings.manifest.labels, {"valence", "arousal"} & set(self.settings.manifest.outputs)
        return Value(np.array([by_name[label] for label in labels]) if by_name else None, np.nan_to_num(row[-2:]) if predicted else None)
