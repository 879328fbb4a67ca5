"""One pass of one clip: pictures of a decoding child into a session of low priority, its events into a result.

Owns the pace (no more frames in flight than the feed allows), numbering, counting and the rule on truncated clips. Does not own
the child (`decoder.py`), the session (`service/live.py`) or what happens to a pass that failed (`worker.py`).
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from time import monotonic_ns

from capture.frame import Frame
from service.analyze import Tally
from service.clips.decoder import Cancelled, Crashed, Decoder
from service.clips.limits import ClipRefused, Counted, Limits
from service.clips.pictures import Kind, Picture, Said
from service.clips.result import Result
from service.clips.store import Clip
from service.events import GPU_MEMORY, ClipPrediction, Event, Rejected, SourceEvent
from service.feed import Arrival, Feed, FeedOptions
from service.live import LiveLoop
from service.messages import Closed, Failure, Output

IN_FLIGHT = 8
"""Frames of a clip in the server's memory, at most; one may have 28 MB."""
_WAIT_S = 0.2


class LoopFailed(Exception):
    """The inference loop has ended; the server must be restarted."""


class Run:
    """A pass under way. `tally`, `result`, `duration_ns` and `last_ns` may be read by others while it runs; `changed` is
    called when they have; `wanted` is asked whether to go on."""

    def __init__(self, clip: Clip, loop: LiveLoop, limits: Limits, wanted: Callable[[], bool], changed: Callable[[], None]) -> None:
        self.clip = clip
        self.tally = Tally(None)
        self.result: Result | None = None
        self.duration_ns: int | None = None
        self.last_ns = 0
        self.offline = True
        self._loop = loop
        self._counted = Counted(limits)
        self._wanted = wanted
        self._changed = changed
        self._outputs: queue.SimpleQueue[Output] = queue.SimpleQueue()
        self._closed = False

    @property
    def progress(self) -> float:
        """Share of the clip that is done, 0 to 1; 0 while nothing says how long it is."""
        if self.tally.expected:
            return min(1.0, self.tally.decoded / self.tally.expected)
        return min(1.0, self.last_ns / self.duration_ns) if self.duration_ns else 0.0

    def finish(self, decoder: Decoder, name: str) -> dict[str, str]:
        """Run to the end and return the result by suffix; `name`: of the feed.

        Raises:
            ClipRefused: the clip cannot be analysed.
            Crashed: the child did not live to its end.
            Cancelled: it is not wanted any more.
            LoopFailed: nothing can be analysed any more.
            EngineError, UnknownModel: its model cannot be loaded.
        """
        opened = decoder.next()
        if not isinstance(opened, Said) or opened.kind != Kind.OPENED:
            raise Crashed("it did not begin with what it opened")
        still = bool(opened.body["still"])
        frames, duration_ns = (_count(opened.body["info"].get(key)) for key in ("frames", "duration_ns"))
        self.offline = bool(opened.body["offline"])
        self.tally.expected, self.duration_ns = frames, duration_ns
        options = self.clip.options
        feed = self._loop.open_clip(
            name, FeedOptions(options.model, "all", options.faces, options.hop, IN_FLIGHT), self._outputs.put, still=still
        )
        try:
            self.result = Result(self.clip.name, feed.session.settings.model)
            self._push(decoder, feed)
            self._check_whole()
            feed.close("end", drain=True)
        except BaseException:
            feed.close("cancelled", drain=False)
            raise
        while not self._closed:
            self._hear(_WAIT_S)
        return self.result.texts(self.tally)

    def _push(self, decoder: Decoder, feed: Feed) -> None:
        source = self.clip.name
        while True:
            while feed.ledger.in_flight >= IN_FLIGHT:
                self._hear(_WAIT_S)
            while not self._outputs.empty():
                self._hear(_WAIT_S)
            picture = decoder.next()
            if not isinstance(picture, Picture):
                if picture.kind != Kind.ENDED:
                    raise Crashed(f"it said {picture.kind.name.lower()} in the middle")
                return
            if picture.t_ns is None:
                raise ClipRefused("clip-unreadable", f"Frame {self.tally.decoded + 1} has no presentation time. Convert the clip.")
            height, width = picture.pixels.shape[:2]
            self._counted.add(width, height, picture.t_ns)
            self.tally.read(picture.corrupt)
            self.last_ns, now_ns, number = picture.t_ns, monotonic_ns(), feed.receive()
            frame = Frame(source, "color", number, picture.t_ns, now_ns, data=picture.pixels)
            feed.put(Arrival(number, now_ns, picture.t_ns, "media", {source: frame}))

    def _check_whole(self) -> None:
        tally = self.tally
        if tally.decoded == 0:
            raise ClipRefused("empty-clip", "The clip has no frames. Record or copy it again.")
        self._counted.end()
        if not tally.cut_short(self.duration_ns, self.last_ns):
            return
        if not self.clip.options.allow_partial:
            at_s, of_s = self.last_ns / 1e9, (self.duration_ns or 0) / 1e9
            detail = f"The clip ends at {at_s:.2f} s of {of_s:.2f} s: {tally.decoded} of {tally.expected} frames decoded. "
            raise ClipRefused("clip-truncated", detail + "allow_partial=true takes what there is.", tally.expected, tally.decoded)
        tally.partial = True

    def _hear(self, timeout_s: float) -> None:
        """Take one output of the session, if one comes."""
        if not self._wanted():
            raise Cancelled
        try:
            said = self._outputs.get(timeout=timeout_s).message
        except queue.Empty:
            if not self._loop.healthy:
                raise LoopFailed from None
            return
        if isinstance(said, Failure):
            raise LoopFailed(said.detail)
        if isinstance(said, Closed):
            if said.received != said.used + said.rejected:
                raise Cancelled  # the loop stops: frames were dropped, and a result without them would be another clip's
            self._closed = True
        elif isinstance(said, Event | ClipPrediction | Rejected | SourceEvent):
            self._check_memory(said)
            self.tally.said(said)
            assert self.result is not None
            self.result.add(said)
            self._changed()

    def _check_memory(self, said: object) -> None:
        """Refuse to go on without labels: the same clip gets them when the device has room."""
        assert self.result is not None
        for_want = isinstance(said, Rejected) and said.code == GPU_MEMORY
        if for_want or self.result.model in {id for id, _ in self._loop.batcher.full}:
            raise ClipRefused(GPU_MEMORY, "The GPU has no memory for this model, not even for a smaller batch. Try again later.")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
