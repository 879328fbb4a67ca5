"""The `rounds` thread: takes from every feed, runs all sessions together, publishes.

Owns the thread, opening and closing of feeds, the loading of models while others go on, and the degrade ladder's
acts. Does not own what a session means (`session.py`), batching (`rounds.py`) or a network (`api/`).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median
from time import monotonic_ns
from typing import Protocol

from capture.image import ImageBroken
from engines.engine import Engine, EngineError
from engines.manifest import Manifest
from service.events import Event, Rejected, SessionEvent
from service.feed import Arrival, Feed, FeedOptions
from service.inputs import Change, GraphKey, Keep, Perception, Step
from service.messages import Closed, Failure, Loading, Output, Policy, Timing, Updated
from service.models import Model
from service.pressure import Pressure
from service.rounds import Batcher, settle
from service.session import Session
from service.settings import unusable

log = logging.getLogger("mien.live")
CLIP_SHARE = 0.5
"""Of a round's budget, while live sessions set one."""
CLIP_SLICE_NS = 50_000_000
"""What clips run in one go while none does: a session that opens meanwhile waits no longer than this."""


class Overloaded(Exception):
    """No room for one more session now."""


class ModelSource(Protocol):
    """Where models and their running graphs come from (`service.models.Models`)."""

    @property
    def engines(self) -> Mapping[GraphKey, Engine]: ...

    @property
    def max_batch(self) -> Mapping[GraphKey, int]: ...

    def manifest(self, id: str) -> Manifest:
        """Return a model's manifest; raises UnknownModel."""
        ...

    def load(self, id: str) -> Model:
        """Return the model, its engines open; raises UnknownModel or EngineError."""
        ...


@dataclass(frozen=True, slots=True)
class LiveStats:
    """`round_ms`: median of the rounds since the last step of the ladder; `rounds`: how many were run."""

    sessions: int
    rounds: int
    round_ms: float
    level: int
    full: bool


@dataclass(slots=True)
class _Turn:
    """One feed's part in a round."""

    feed: Feed
    arrival: Arrival
    decode_ns: int = 0
    step: Step | None = None


class LiveLoop:
    """Runs sessions. `perception` finds faces for all; `on_round` is called with each round's ns (metrics)."""

    def __init__(
        self, models: ModelSource, perception: Perception, *, max_sessions: int, decode_threads: int = 2,
        on_round: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self.models = models
        self.perception = perception
        self.error: BaseException | None = None
        self._max_sessions = max_sessions
        self._on_round = on_round
        self.batcher = Batcher(models.engines, models.max_batch)
        self._loaded: dict[str, Model] = {}
        self._feeds: dict[str, Feed] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._pressure = Pressure()
        self._rounds: deque[int] = deque(maxlen=100)
        self._count = 0
        self._pool = ThreadPoolExecutor(decode_threads, "decode")
        self._loader = ThreadPoolExecutor(1, "load")
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    # For any thread.

    def start(self) -> None:
        """Start the rounds."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Close every feed without draining and end the thread."""
        with self._lock:
            self._stopping = True
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.close("shutdown", drain=False)
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    @property
    def healthy(self) -> bool:
        """Whether the rounds thread runs."""
        return self._thread.is_alive() and self.error is None

    def open(self, name: str, options: FeedOptions, publish: Callable[[Output], None]) -> Feed:
        """Open a feed of its own session. `publish` is called on the rounds thread, or the caller's for `Feed.reject`.

        Raises:
            Overloaded: too many sessions, or the ladder is at its end.
            EngineError, UnknownModel: the model cannot be loaded.
        """
        model = self._load(options.model)
        with self._lock:
            count = sum(not feed.clip for feed in self._feeds.values())
            if count >= self._max_sessions:
                raise Overloaded(f"{count} sessions are open, the limit is {self._max_sessions}; try again later")
            if self._pressure.ladder.full:
                raise Overloaded("this machine is behind with the sessions it has; try again later")
            return self._seat(name, model, options, publish, ends=False)

    def open_clip(self, name: str, options: FeedOptions, publish: Callable[[Output], None], still: bool = False) -> Feed:
        """Open a feed whose input has an end: policy `all`, of low priority, clip predictions before `Closed`. `still`: it
        is one picture (hop 1, confirmed at once).

        Raises:
            EngineError, UnknownModel: the model cannot be loaded.
        """
        model = self._load(options.model)
        options = replace(options, policy="all", hop=1 if still else options.hop)
        with self._lock:
            return self._seat(name, model, options, publish, ends=True, confirm_frames=1 if still else None)

    def _seat(
        self, name: str, model: Model, options: FeedOptions, publish: Callable[[Output], None],
        ends: bool, confirm_frames: int | None = None,
    ) -> Feed:  # fmt: skip
        if self._stopping:
            raise Overloaded("the server is shutting down")
        if name in self._feeds:
            raise ValueError(f"a session named {name!r} is open already")
        chosen = options.session(self._loaded, ends, confirm_frames)
        feed = Feed(name, Session(model, self.perception, chosen), options, publish, self._wake.set, self._pool)
        self._feeds[name] = feed
        return feed

    def change(self, feed: Feed, change: Change, policy: Policy | None = None) -> None:
        """Apply new settings from the next frame on; a model that is not loaded yet is loaded meanwhile.

        A model that cannot be loaded is told by a `Failure`.

        Raises:
            UnknownModel: there is no such model.
            ValueError: a value is out of range, or the model is of another kind.
        """
        known = change.model is None or change.model in self._loaded
        if known and not feed.loading:
            self._apply(feed, change, policy)
            return
        if change.model is not None and not known:
            manifest = self.models.manifest(change.model)
            if (why := unusable(manifest, feed.options.given)) is not None:
                raise ValueError(why)
            feed.publish(Output(Loading(change.model)))
        # In the order they were asked for: a later Change waits behind a model that is loading.
        with self._lock:
            feed.loading += 1
        self._loader.submit(self._load_then, feed, change, policy)

    def stats(self) -> LiveStats:
        """Return a reading."""
        rounds, ladder = list(self._rounds), self._pressure.ladder
        return LiveStats(len(self._feeds), self._count, median(rounds) / 1e6 if rounds else 0.0, ladder.level, ladder.full)

    def _load(self, model: str) -> Model:
        if model not in self._loaded:
            self._loaded[model] = self.models.load(model)
        return self._loaded[model]

    def _load_then(self, feed: Feed, change: Change, policy: Policy | None) -> None:
        try:
            if feed.closing is None and change.model is not None:
                self._load(change.model)
        except (EngineError, ValueError) as error:
            feed.publish(Output(Failure("model-not-loaded", str(error), False)))
            return
        finally:
            with self._lock:
                feed.loading -= 1
        if feed.closing is not None:
            return
        try:
            self._apply(feed, change, policy)
        except ValueError as error:
            feed.publish(Output(Failure("bad-change", str(error), False)))

    def _apply(self, feed: Feed, change: Change, policy: Policy | None) -> None:
        feed.session.settings.changed(change, self._loaded)
        if policy is not None:
            feed.set_policy(policy)
        feed.put_input(change)

    # The rounds thread.

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.wait(0.5)
                self._wake.clear()
                while self._round() and not self._stopping:
                    pass
            self._round()
        except Exception as error:
            self.error = error
            log.exception("the rounds thread has ended by an error")
            for feed in list(self._feeds.values()):
                feed.publish(Output(Failure("internal", "the inference loop has failed; the server must be restarted", False)))

    def _round(self) -> bool:
        """Run one round for the live feeds, then clips for as long as they may; return whether something is waiting."""
        began = monotonic_ns()
        with self._lock:
            feeds = list(self._feeds.values())
        live, clips = [feed for feed in feeds if not feed.clip], [feed for feed in feeds if feed.clip]
        if self._run_turns(live, began):
            done = monotonic_ns()
            self._count += 1
            self._rounds.append(done - began)
            if self._on_round is not None:
                self._on_round(done - began)
            self._pressure.observe(live, done - began, done)
        for feed, change in self._pressure.changes(live, monotonic_ns()):
            feed.advance(change)
            self._updated(feed)
        self._run_clips(clips, live)
        for feed in feeds:
            feed.flush_drops()
            if feed.closing is not None and not feed.waiting:
                self._close(feed)
        return any(feed.waiting for feed in feeds)

    def _run_turns(self, feeds: Sequence[Feed], began: int) -> bool:
        """Take one frame from each feed, run them together, tell; return whether there was any."""
        turns = []
        for feed in feeds:
            self._take_inputs(feed)
            arrival = feed.take()
            if arrival is not None:
                turns.append(_Turn(feed, arrival))
        # Only now are the newest known: decoding starts for those, in parallel.
        ready = [turn for turn in turns if self._advance(turn)]
        said = settle([(turn.feed.session, turn.step) for turn in ready if turn.step is not None], self.batcher)
        done = monotonic_ns()
        for turn, events in zip(ready, said, strict=True):
            self._tell(turn, events, began, done)
        return bool(turns)

    def _run_clips(self, clips: Sequence[Feed], live: Sequence[Feed]) -> None:
        """Run clips' frames until the share of the budget they may have is used, or a live frame is waiting."""
        began = monotonic_ns()
        budget_ns = self._pressure.budget_ns(live, began)
        until = began + (CLIP_SLICE_NS if budget_ns is None else round(CLIP_SHARE * budget_ns))
        while self._run_turns(clips, monotonic_ns()) and monotonic_ns() < until and not any(feed.waiting for feed in live):
            pass

    def _take_inputs(self, feed: Feed) -> None:
        while feed.inputs:
            given = feed.inputs.popleft()
            try:
                step = feed.advance(given)
            except ValueError as error:
                feed.publish(Output(Failure("bad-change", str(error), False)))
                continue
            for event in step.events:
                feed.publish(Output(event))
            if isinstance(given, Change):
                # What the owner asked for; it is stretched again, if it must be, with the end of this round.
                if given.model is not None or given.hop is not None:
                    feed.hop = given.hop
                if given.model is not None or not isinstance(given.period_ms, Keep):
                    feed.period_ms = given.period_ms
                if given.model is not None or given.hop is not None or not isinstance(given.period_ms, Keep):
                    feed.stretch = 1
                self._updated(feed)

    def _updated(self, feed: Feed) -> None:
        settings = feed.session.settings
        feed.publish(Output(Updated(settings.model, settings.hop, settings.period_ms, settings.faces, feed.policy, feed.last_taken + 1)))

    def _advance(self, turn: _Turn) -> bool:
        feed, arrival = turn.feed, turn.arrival
        feed.last_taken = arrival.number
        try:
            bundle, turn.decode_ns = arrival.bundle()
        except ImageBroken as error:
            feed.reject(arrival.number, "image-broken", str(error), arrival.id)
            return False
        turn.step = feed.advance(bundle)
        return True

    def _tell(self, turn: _Turn, events: tuple[SessionEvent, ...], began: int, done: int) -> None:
        feed, arrival = turn.feed, turn.arrival
        wait_ns = max(0, began - arrival.arrival_ns)
        timing = Timing(arrival.arrival_ns, turn.decode_ns, wait_ns, max(0, done - max(began, arrival.arrival_ns) - turn.decode_ns), done)
        for event in events:
            if isinstance(event, Rejected):
                feed.say_rejected(event, arrival.id)
            elif isinstance(event, Event):
                feed.flush_drops()
                feed.ledger.used(event.frame)
                feed.publish(Output(event, arrival.id, timing, self._pressure.degraded(feed), feed.count_drops()))
            else:
                feed.publish(Output(event))

    def _close(self, feed: Feed) -> None:
        with self._lock:
            self._feeds.pop(feed.name, None)
        if not feed.cancelled:
            for event in settle([(feed.session, feed.session.finish())], self.batcher)[0]:
                feed.publish(Output(event))
        counts = feed.ledger.counts()
        rejected = sum(counts.rejected.values())
        feed.publish(Output(Closed(counts.received, counts.used, counts.dropped, rejected, feed.closing or "client")))
