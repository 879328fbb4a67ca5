"""The rounds thread with synthetic faces: every frame accounted for, whatever the load."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from capture.frame import Bundle
from engines.engine import Arrays, Engine
from engines.folder import FolderError
from engines.manifest import Manifest
from engines.synthetic import SyntheticEngine
from service.events import ClipPrediction, Event, Rejected
from service.feed import Arrival, Feed, FeedOptions
from service.inputs import Change, GraphKey
from service.live import LiveLoop, Overloaded
from service.messages import Closed, Dropped, Failure, Loading, Message, Output, Updated
from service.models import Model, UnknownModel
from service.perception.synthetic import SyntheticPerception
from tests.session.world import D, bundle, engines, face, model
from tests.waiting import PATIENCE_S, until


@dataclass
class Shelf:
    """Models of synthetic networks; each row of one waits until `hold` returns."""

    hold: Callable[[], object] = lambda: None
    models: dict[str, Model] = field(
        default_factory=lambda: {m.name.id: m for m in (model(4, 4, 2), model(4, 4, 1, id="second"), model(4, 4, 1, id="broken"))}
    )
    engines: dict[GraphKey, Engine] = field(default_factory=dict)
    max_batch: dict[GraphKey, int] = field(default_factory=dict)
    broken: bool = False

    def manifest(self, id: str) -> Manifest:
        if id not in self.models:
            raise UnknownModel(f"no model {id!r}")
        return self.models[id].manifest

    def load(self, id: str) -> Model:
        if id == "broken":
            raise FolderError("model.onnx was changed")
        for key, engine in engines(*self.models).items():
            self.engines[key] = SyntheticEngine(self._slowly(engine))
            self.max_batch[key] = 16
        return self.models[id]

    def _slowly(self, engine: Engine) -> object:
        def row(inputs: Arrays) -> Arrays:
            self.hold()
            if self.broken:
                raise RuntimeError("a bug in an engine")
            outputs = engine.run({name: array[None] for name, array in inputs.items()})
            return {name: array[0] for name, array in outputs.items()}

        return row


class Heard:
    """Collects a feed's outputs and waits for its end."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.closed = threading.Event()

    def __call__(self, output: Output) -> None:
        self.outputs.append(output)
        if isinstance(output.message, Closed | Failure):
            self.closed.set()

    def of(self, kind: type[Message]) -> list[Output]:
        return [o for o in self.outputs if isinstance(o.message, kind)]

    def wait(self) -> None:
        assert self.closed.wait(PATIENCE_S), [type(o.message).__name__ for o in self.outputs[-5:]]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def loop(shelf: Shelf) -> Iterator[LiveLoop]:
    loop = LiveLoop(shelf, SyntheticPerception(D), max_sessions=3)
    loop.start()
    yield loop
    loop.stop(PATIENCE_S)


def _send(feed: Feed, given: Bundle, id: str | None = None) -> int:
    number, now = feed.receive(), time.monotonic_ns()
    feed.put(Arrival(number, now, given.t_ns, "client", given.frames, id))
    return number


def _accounts(heard: Heard, received: int) -> Mapping[str, int]:
    """Check that every number has exactly one end, told in order, and that the ledger agrees; return the drops."""
    ends: list[int] = []
    for output in heard.outputs:
        if isinstance(output.message, Event | Rejected):
            ends.append(output.message.frame)
        elif isinstance(output.message, Dropped):
            first, last = output.message.frames
            ends += range(first, last + 1)
    assert sorted(ends) == list(range(1, received + 1))
    (closed,) = [o.message for o in heard.of(Closed)]
    assert isinstance(closed, Closed)
    assert closed.received == received == closed.used + sum(closed.dropped.values()) + closed.rejected
    assert closed.used == len(heard.of(Event))
    return closed.dropped


def test_policy_all_uses_every_frame_in_order_and_carries_ids(loop: LiveLoop) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "all", max_in_flight=50), heard)
    for n in range(1, 41):
        _send(feed, bundle(n, [face()]), f"id{n}")
    feed.close()
    heard.wait()
    assert _accounts(heard, 40) == {}
    assert [(o.message.frame, o.id) for o in heard.of(Event) if isinstance(o.message, Event)] == [(n, f"id{n}") for n in range(1, 41)]


def _closed_gate(shelf: Shelf) -> threading.Event:
    """Hold every network until the event is set."""
    gate = threading.Event()
    shelf.hold = lambda: gate.wait(PATIENCE_S)
    return gate


def _last_used(heard: Heard) -> int:
    return max((o.message.frame for o in heard.of(Event) if isinstance(o.message, Event)), default=0)


def test_policy_latest_under_load_uses_the_newest_and_tells_the_rest(loop: LiveLoop, shelf: Shelf) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "latest", max_fps=1e9), heard)
    for last in (50, 100, 150, 200):
        gate = _closed_gate(shelf)
        for n in range(last - 49, last + 1):
            _send(feed, bundle(n, [face()]))
        gate.set()
        until(lambda last=last: _last_used(heard) == last, "the newest is used")  # type: ignore[misc]
    feed.close()
    heard.wait()
    dropped = _accounts(heard, 200)
    assert set(dropped) == {"superseded"}
    assert dropped["superseded"] >= 4 * 48, "of each fifty at most the one that a round had taken before, and the newest, are used"
    frames = [o.message.frame for o in heard.of(Event) if isinstance(o.message, Event)]
    assert frames == sorted(frames)
    assert sum(o.dropped_since_last for o in heard.of(Event)) == dropped["superseded"]


def test_a_flood_is_limited_by_rate_before_anything_else(loop: LiveLoop) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "latest", max_fps=0.001), heard)
    for n in range(1, 101):
        _send(feed, bundle(n, [face()]))
    feed.close()
    heard.wait()
    assert _accounts(heard, 100) == {"rate": 99}


def test_a_label_waits_for_at_most_the_round_in_progress(loop: LiveLoop, shelf: Shelf) -> None:
    """Frames of all sessions that come while a round is in progress are all of the next one."""
    heards = [Heard() for _ in range(3)]
    feeds = [loop.open(str(i), FeedOptions("synthetic-expression", "latest", max_fps=1e9), heard) for i, heard in enumerate(heards)]
    began, gate = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        gate.wait(PATIENCE_S)

    shelf.hold = hold
    _send(feeds[0], bundle(1, [face()]))
    assert began.wait(PATIENCE_S)
    for n in (2, 3):
        _send(feeds[0], bundle(n, [face()]))
    for feed in feeds[1:]:
        _send(feed, bundle(1, [face()]))
    gate.set()
    until(lambda: [_last_used(heard) for heard in heards] == [3, 1, 1], "all have their result")
    until(lambda: loop.stats().rounds >= 2, "the second round is counted")
    for feed, heard in zip(feeds, heards, strict=True):
        feed.close()
        heard.wait()
    assert loop.stats().rounds == 2


def test_a_model_that_is_not_loaded_is_loaded_while_the_old_one_goes_on(loop: LiveLoop) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "all", max_in_flight=50), heard)
    loop.change(feed, Change(model="second"))
    until(lambda: heard.of(Updated), "the model is loaded")
    for n in range(1, 6):
        _send(feed, bundle(n, [face()]))
    feed.close()
    heard.wait()
    assert heard.of(Loading)
    (updated,) = heard.of(Updated)
    assert isinstance(updated.message, Updated)
    assert (updated.message.model.name.id, updated.message.hop, updated.message.from_frame) == ("second", 1, 1)
    assert {o.message.model.id for o in heard.of(Event) if isinstance(o.message, Event)} == {"second"}


def test_an_unknown_model_and_a_bad_value_leave_the_feed_as_it_was(loop: LiveLoop) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "all"), heard)
    with pytest.raises(ValueError, match="hop 0"):
        loop.change(feed, Change(hop=0))
    with pytest.raises(UnknownModel):
        loop.change(feed, Change(model="../../etc/passwd"))
    assert not heard.outputs
    loop.change(feed, Change(model="broken"))
    heard.wait()
    (failure,) = heard.of(Failure)
    assert isinstance(failure.message, Failure)
    assert failure.message.code == "model-not-loaded"
    _send(feed, bundle(1, [face()]))
    heard.closed.clear()
    feed.close()
    heard.wait()
    _accounts(heard, 1)


def test_too_many_sessions_are_refused_and_a_closed_one_makes_room(loop: LiveLoop) -> None:
    heards = [Heard() for _ in range(4)]
    feeds = [loop.open(str(i), FeedOptions("synthetic-expression"), heards[i]) for i in range(3)]
    with pytest.raises(Overloaded, match="the limit is 3"):
        loop.open("3", FeedOptions("synthetic-expression"), heards[3])
    feeds[0].close()
    heards[0].wait()
    loop.open("3", FeedOptions("synthetic-expression"), heards[3])
    assert loop.stats().sessions == 3


def test_a_vanished_client_frees_everything_and_its_frames_are_counted(loop: LiveLoop, shelf: Shelf) -> None:
    gate = _closed_gate(shelf)
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "all", max_in_flight=50), heard)
    for n in range(1, 31):
        _send(feed, bundle(n, [face()]))
    feed.close(drain=False)
    gate.set()
    heard.wait()
    dropped = _accounts(heard, 30)
    assert dropped["closed"] >= 29, "at most one was taken before"
    assert loop.stats().sessions == 0
    _send(feed, bundle(31, [face()]))
    assert feed.ledger.in_flight == 0


def _climb(loop: LiveLoop, shelf: Shelf, feed: Feed, level: int) -> int:
    """Overload the loop until the ladder is on `level`, then let its networks run; return how many frames that took."""
    sent, numbers = threading.Semaphore(0), itertools.count(1)

    def hold() -> None:
        """Take as long as three frames take to come, however long that is on this machine."""
        for _ in range(3):
            sent.acquire(timeout=PATIENCE_S)

    def climbed() -> bool:
        _send(feed, bundle(next(numbers), [face()]))
        sent.release()
        return loop.stats().level >= level

    shelf.hold = hold
    until(climbed, f"level {level}", every_s=0.002)
    shelf.hold = lambda: None
    sent.release(1000)
    return next(numbers) - 1


def test_sustained_overload_climbs_the_ladder_and_says_so(loop: LiveLoop, shelf: Shelf) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "latest", max_fps=1e9), heard)
    received = _climb(loop, shelf, feed, 3)
    feed.close()
    heard.wait()
    degraded = [o.degraded for o in heard.of(Event)]
    assert degraded[0] is None
    assert "rate" in degraded
    assert {"period", "hop"} & set(degraded)
    _accounts(heard, received)


def test_an_error_in_the_rounds_is_told_to_everybody_and_health_is_lost(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    loop = LiveLoop(shelf, SyntheticPerception(D), max_sessions=3)
    loop.start()
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "all"), heard)
    assert loop.healthy
    shelf.broken = True
    _send(feed, bundle(1, [face()]))
    heard.wait()
    (failure,) = heard.of(Failure)
    assert isinstance(failure.message, Failure)
    assert failure.message.code == "internal"
    assert not loop.healthy
    assert "rounds thread has ended" in caplog.text
    loop.stop(PATIENCE_S)


def test_a_clip_says_its_clip_prediction_and_then_closes(loop: LiveLoop) -> None:
    heard = Heard()
    feed = loop.open_clip("c", FeedOptions("synthetic-expression", max_in_flight=50), heard)
    for n in range(1, 21):
        _send(feed, bundle(n, [face()]))
    feed.close("end")
    heard.wait()
    assert _accounts(heard, 20) == {}
    assert [type(o.message) for o in heard.outputs[-2:]] == [ClipPrediction, Closed]


def test_a_cancelled_clip_predicts_nothing(loop: LiveLoop, shelf: Shelf) -> None:
    gate = _closed_gate(shelf)
    heard = Heard()
    feed = loop.open_clip("c", FeedOptions("synthetic-expression", max_in_flight=50), heard)
    for n in range(1, 41):
        _send(feed, bundle(n, [face()]))
    feed.close("cancelled", drain=False)
    gate.set()
    heard.wait()
    assert not heard.of(ClipPrediction)
    assert _accounts(heard, 40)["closed"] >= 39


def test_clips_take_no_seat_and_leave_live_sessions_their_time(loop: LiveLoop, shelf: Shelf) -> None:
    """With three clips queued, a live frame waits for the one frame of each clip that is in progress, and no longer."""
    shelf.hold = lambda: time.sleep(0.002)  # so that the clips last
    order: list[str] = []

    def noting(name: str, heard: Heard) -> Callable[[Output], None]:
        def note(output: Output) -> None:
            if isinstance(output.message, Event):
                order.append(name)
            heard(output)

        return note

    clips = [Heard() for _ in range(3)]
    for i, heard in enumerate(clips):
        feed = loop.open_clip(f"c{i}", FeedOptions("synthetic-expression", max_in_flight=500), noting("clip", heard))
        for n in range(1, 401):
            _send(feed, bundle(n, [face()]))
        feed.close("end")
    live = Heard()
    feed = loop.open("live", FeedOptions("synthetic-expression", "latest", max_fps=1e9), noting("live", live))
    waited = []
    for n in range(1, 21):
        _send(feed, bundle(n, [face()]))
        before = len(order)
        until(lambda n=n: order.count("live") == n, "it is used")  # type: ignore[misc]
        at = [i for i, name in enumerate(order) if name == "live"][-1]
        waited.append(at - before)
    assert not any(heard.closed.is_set() for heard in clips), "the clips must outlast the live session for this to be a test"
    assert max(waited[1:]) <= 3, "the first is of a session that opened in the middle of a slice"
    shelf.hold = lambda: None
    feed.close()
    live.wait()
    assert _accounts(live, 20) == {}
    for heard in clips:
        heard.wait()
        assert _accounts(heard, 400) == {}


def test_a_frame_dropped_for_its_rate_is_told_at_once(loop: LiveLoop) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "latest", max_fps=0.001), heard)
    for n in range(1, 21):
        _send(feed, bundle(n, [face()]))
        until(lambda n=n: len(heard.outputs) >= n, "it is told", every_s=0.001)  # type: ignore[misc]
    assert sum(o.timing is None for o in heard.outputs) == 19, "each was told before the next was sent"
    feed.close()
    heard.wait()
    assert _accounts(heard, 20) == {"rate": 19}


def test_overload_ends_with_the_sessions_that_made_it(loop: LiveLoop, shelf: Shelf) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "latest", max_fps=1e9), heard)
    _climb(loop, shelf, feed, 4)
    with pytest.raises(Overloaded, match="this machine is behind"):
        loop.open("b", FeedOptions("synthetic-expression"), Heard())
    feed.close()
    heard.wait()
    until(lambda: not loop.stats().full, "the level is left")
    loop.open("b", FeedOptions("synthetic-expression"), Heard())


def test_the_times_of_a_label_are_those_that_passed(loop: LiveLoop, shelf: Shelf) -> None:
    """The second frame comes while the first one's round is held: it waits that long by the test's own clock."""
    heard, began, gate = Heard(), threading.Semaphore(0), threading.Semaphore(0)

    def hold() -> None:
        began.release()
        gate.acquire(timeout=PATIENCE_S)

    shelf.hold = hold
    feed = loop.open("a", FeedOptions("synthetic-expression", "all"), heard)
    held_ns, sent_ns = [], []
    for n in (1, 2):
        sent_ns.append(time.monotonic_ns())
        _send(feed, bundle(n, [face()]))
    # Of one frame the finder runs and then the network: four times in all, 50 ms each.
    for _ in range(4):
        assert began.acquire(timeout=PATIENCE_S)
        since = time.monotonic_ns()
        time.sleep(0.05)
        held_ns.append(time.monotonic_ns() - since)
        gate.release()
    feed.close()
    heard.wait()
    told_ns = time.monotonic_ns()
    outputs = heard.of(Event)
    assert [o.message.frame for o in outputs if isinstance(o.message, Event)] == [1, 2]
    first, second = (o.timing for o in outputs)
    assert first is not None
    assert second is not None
    assert first.infer_ns >= sum(held_ns[:2])
    assert second.infer_ns >= sum(held_ns[2:])
    for timing, sent in ((first, sent_ns[0]), (second, sent_ns[1])):
        assert sent <= timing.arrival_ns <= timing.done_ns <= told_ns
        assert timing.wait_ns + timing.decode_ns + timing.infer_ns == pytest.approx(timing.done_ns - timing.arrival_ns, abs=2)
    assert second.wait_ns >= sum(held_ns[:2])


def test_changes_are_applied_in_the_order_they_were_asked_for(loop: LiveLoop) -> None:
    heard = Heard()
    feed = loop.open("a", FeedOptions("synthetic-expression", "all"), heard)
    loop.change(feed, Change(model="second"))
    loop.change(feed, Change(model="synthetic-expression", hop=3))
    until(lambda: len(heard.of(Updated)) >= 2, "both are applied")
    settings = feed.session.settings
    assert (settings.model.name.id, settings.hop) == ("synthetic-expression", 3)


def test_no_session_opens_after_the_end(shelf: Shelf) -> None:
    loop = LiveLoop(shelf, SyntheticPerception(D), max_sessions=3)
    loop.start()
    loop.stop(PATIENCE_S)
    with pytest.raises(Overloaded, match="shutting down"):
        loop.open("a", FeedOptions("synthetic-expression"), Heard())


def test_what_a_vanished_client_left_is_not_decoded() -> None:
    shelf = Shelf()
    loop = LiveLoop(shelf, SyntheticPerception(D), max_sessions=1)  # never started: nothing is taken
    feed = loop.open("a", FeedOptions("synthetic-expression", "all", max_in_flight=50), Heard())
    arrivals = []
    for n in range(1, 31):
        given = bundle(n, [face()])
        arrivals.append(Arrival(feed.receive(), time.monotonic_ns(), given.t_ns, "client", given.frames))
        feed.put(arrivals[-1])
    feed.close(drain=False)
    assert sum(arrival.decode is not None for arrival in arrivals) <= 5
    assert feed.ledger.counts().dropped == {"closed": 30}
    loop.stop(PATIENCE_S)
