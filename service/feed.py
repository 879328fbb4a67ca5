"""One session's seat in the rounds: what waits for it, what it lost, what is told to its owner.

Owns numbering, the rate limit, the mailbox and the drops of one stream of frames. Its methods may be called from any
thread; the session inside is touched by the rounds thread alone (`live.py`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Protocol

from capture.frame import Bundle, Clock, Frame, Modality, Packet, decoded
from capture.mailbox import Mailbox
from service.events import Rejected
from service.inputs import Input, Keep, Step
from service.ledger import Ledger
from service.messages import Dropped, DropReason, Output, Policy
from service.models import Model
from service.session import Session
from service.settings import GIVEN, SessionOptions, Taken
from service.windows.sampling import Sampler

PATIENT = 16
"""Frames that may wait at most in a feed with patience."""
AHEAD = 4
"""Frames of a policy `all` feed that are decoded before their turn."""


class InputLog(Protocol):
    """Hears, in order, what a session takes and what becomes of the frames that never reach it. Its methods must not wait."""

    def taken(self, given: Input) -> None: ...
    def lost(self, lost: Dropped | Rejected) -> None: ...


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """`max_in_flight`: frames a policy `all` client may have open; `max_fps`: faster frames of a `latest` feed are
    dropped (`rate`) so that one flood cannot set everybody's budget; `log`, `on_sample`: who hears of its inputs and samples;
    `given`: the modalities its bundles have; `patience_ns`: for how long after its arrival a frame of a `latest` feed may still be used
    though a newer one is there, as a rig's bundles come several at once where a slow source was waited for (0: the newest wins)."""

    model: str
    policy: Policy = "latest"
    faces: int = 1
    hop: int | None = None
    max_in_flight: int = 32
    max_fps: float = 60.0
    log: InputLog | None = None
    on_sample: Callable[[Taken], None] | None = None
    given: frozenset[str] = GIVEN
    patience_ns: int = 0

    def session(self, models: Mapping[str, Model], ends: bool, confirm_frames: int | None) -> SessionOptions:
        """Return the settings of the feed's session; `models`: what its Changes may name."""
        return SessionOptions(self.faces, self.hop, Keep.KEEP, confirm_frames, ends, models, self.on_sample, given=self.given)


@dataclass(slots=True, eq=False)
class Arrival:
    """A received bundle on its way to the session. `decode` is started when it is known that it will be used."""

    number: int
    arrival_ns: int
    t_ns: int
    clock: Clock
    frames: Mapping[str, Frame]
    id: str | None = None
    skew_ns: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    decode: Future[tuple[dict[str, Frame], int]] | None = field(default=None)

    def start(self, pool: ThreadPoolExecutor) -> None:
        """Begin decoding, once."""
        if self.decode is None:
            self.decode = pool.submit(self._decode)

    def _decode(self) -> tuple[dict[str, Frame], int]:
        began = monotonic_ns()
        return {name: decoded(frame) for name, frame in self.frames.items()}, monotonic_ns() - began

    def bundle(self) -> tuple[Bundle, int]:
        """Return the decoded bundle and the ns its decoding took.

        Raises:
            ImageBroken: a packet does not decode.
        """
        assert self.decode is not None
        frames, took_ns = self.decode.result()
        return Bundle(self.number, self.t_ns, self.clock, self.arrival_ns, frames, self.skew_ns, self.missing, self.held), took_ns


class Feed:
    """A stream of numbered frames into one session. Made by `LiveLoop.open`."""

    def __init__(
        self, name: str, session: Session, options: FeedOptions, publish: Callable[[Output], None],
        wake: Callable[[], None], pool: ThreadPoolExecutor,
    ) -> None:  # fmt: skip
        self.name = name
        self.session = session
        self.options = options
        self.publish = publish
        self.ledger = Ledger()
        self.closing: str | None = None
        self.cancelled = False
        self.inputs: deque[Input] = deque()
        self.last_taken = 0
        self.intervals_ns: deque[int] = deque(maxlen=20)
        self.last_arrival_ns: int | None = None
        self.policy: Policy = options.policy
        self.hop: int | None = options.hop
        self.period_ms: float | None | Keep = Keep.KEEP
        self.stretch = 1
        self.loading = 0
        self._dropped = 0
        self._wake = wake
        self._pool = pool
        self._lock = threading.RLock()
        self._drops: list[Dropped] = []
        self._ahead: deque[Arrival] = deque()
        self._decoding = 0
        self._rate = Sampler(round(1e9 / options.max_fps))
        room = PATIENT if options.patience_ns else 1
        self._boxes = {"latest": Mailbox[Arrival](room, "latest", wake), "all": Mailbox[Arrival](options.max_in_flight, "all", wake)}

    # For the owner.

    def receive(self) -> int:
        """Number the next frame; to be called when its header is read, before anything can be lost."""
        return self.ledger.receive()

    def offer(self, number: int, packets: Mapping[Modality, Packet], arrival_ns: int, t_capture_ns: int | None, id: str | None) -> None:
        """Hand on a frame's encoded parts. It is decoded only if it is going to be used."""
        clock: Clock = "arrival" if t_capture_ns is None else "client"
        frames: dict[str, Frame] = {m: Frame(m, m, number, t_capture_ns, arrival_ns, packet=packet) for m, packet in packets.items()}
        self.put(Arrival(number, arrival_ns, arrival_ns if t_capture_ns is None else t_capture_ns, clock, frames, id))

    def put(self, arrival: Arrival) -> None:
        """Queue a numbered arrival by the policy in force; what it supersedes is dropped and told with the next round."""
        with self._lock:
            policy = self.policy
            if self.closing is not None:
                self._drop(arrival.number, "closed")
                return
            if policy == "latest" and not self._paces(arrival.arrival_ns):
                self._drop(arrival.number, "rate")
                # Nothing else may come for long, and a client that waits for each frame's end waits for this one's.
                self._wake()
                return
            if policy == "all":
                self._ahead.append(arrival)
                self._decode_ahead(0)
            for superseded in self._boxes[policy].put(arrival):
                self._drop(superseded.number, "superseded")

    def _paces(self, arrival_ns: int) -> bool:
        """Return whether the rate limit lets a frame of policy `latest` in; take down its interval if so."""
        if not self._rate.admit(arrival_ns):
            return False
        if self.last_arrival_ns is not None:
            self.intervals_ns.append(arrival_ns - self.last_arrival_ns)
        self.last_arrival_ns = arrival_ns
        return True

    def reject(self, number: int, code: str, detail: str, id: str | None) -> None:
        """Refuse a received frame before the session has seen it."""
        refused = Rejected(number, code, detail)
        if self.options.log is not None:
            self.options.log.lost(refused)
        self.say_rejected(refused, id)

    def say_rejected(self, refused: Rejected, id: str | None) -> None:
        """Take down and publish that a frame was refused."""
        self.ledger.rejected(refused.frame, refused.code)
        self.publish(Output(refused, id))

    def put_input(self, given: Input) -> None:
        """Queue an input that is no frame; it is taken before the next frame."""
        self.inputs.append(given)
        self._wake()

    def set_policy(self, policy: Policy) -> None:
        """Change what happens to frames from the next on. Frames already queued keep their place."""
        self.policy = policy

    def close(self, reason: str = "client", drain: bool = True) -> None:
        """Take no more frames. What is queued is used (`drain`) or dropped; then `Closed` is published, exactly once."""
        with self._lock:
            self.closing = self.closing or reason
            if not drain:
                self.cancelled = True
                self._ahead.clear()
                while (taken := self._next()) is not None:
                    self._drop(taken.number, "closed")
        self._wake()

    # For the rounds thread.

    def take(self) -> Arrival | None:
        """Return the next frame to use, its decoding begun, or None."""
        arrival = self._next()
        if arrival is not None:
            arrival.start(self._pool)
        return arrival

    def advance(self, given: Input) -> Step:
        """Give the session its next input, and the log what it took.

        Raises:
            ValueError: the session refuses a Change; nothing has changed then, and the log does not have it.
        """
        step = self.session.advance(given)
        if self.options.log is not None:
            self.options.log.taken(given)
        return step

    def _next(self) -> Arrival | None:
        """Take from the mailboxes. After a change of policy the other one is emptied first."""
        for box in sorted(self._boxes.values(), key=lambda box: box is self._boxes[self.policy]):
            arrival = box.take()
            while arrival is not None and box is self._boxes["latest"] and len(box) and self._is_old(arrival):
                self._drop(arrival.number, "superseded")
                arrival = box.take()
            if arrival is not None:
                if box is self._boxes["all"]:
                    self._decode_ahead(1)
                return arrival
        return None

    def _is_old(self, arrival: Arrival) -> bool:
        return monotonic_ns() - arrival.arrival_ns > self.options.patience_ns

    def _decode_ahead(self, taken: int) -> None:
        """Keep at most `AHEAD` frames decoding or decoded: pixels of a full queue of large pictures would fill the memory."""
        with self._lock:
            self._decoding -= taken
            while self._ahead and self._decoding < AHEAD:
                self._ahead.popleft().start(self._pool)
                self._decoding += 1

    @property
    def clip(self) -> bool:
        """Whether its input has an end: it then runs at low priority."""
        return self.session.options.ends

    @property
    def waiting(self) -> bool:
        """Whether a frame or another input is queued."""
        return bool(self.inputs) or any(len(box) for box in self._boxes.values())

    def flush_drops(self) -> None:
        """Publish what was dropped since the last flush, as ranges."""
        with self._lock:
            drops, self._drops = self._drops, []
        for dropped in drops:
            if self.options.log is not None:
                self.options.log.lost(dropped)
            self.publish(Output(dropped))

    def count_drops(self) -> int:
        """Return how many were dropped since the last call."""
        with self._lock:
            count, self._dropped = self._dropped, 0
        return count

    def _drop(self, number: int, reason: DropReason) -> None:
        self.ledger.dropped(number, reason)
        with self._lock:
            self._dropped += 1
            last = self._drops[-1] if self._drops else None
            if last is not None and last.reason == reason and last.frames[1] == number - 1:
                self._drops[-1] = Dropped((last.frames[0], number), reason)
            else:
                self._drops.append(Dropped((number, number), reason))
