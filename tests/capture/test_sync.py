"""Bundles out of frames: what must hold whatever comes, and what is expected in plain cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from capture.frame import Bundle, Frame, Modality
from capture.sync import LONGEST_QUEUE, Stamped, Synchroniser, SyncSource

MS = 1_000_000
TOLERANCE, DEADLINE = 30 * MS, 60 * MS
PIXEL = np.zeros((1, 1), np.uint16)
MODALITY: dict[str, Modality] = {"color": "color", "depth": "depth", "thermal": "thermal"}


def stamped(source: str, seq: int, t_ms: float, arrival_ms: float | None = None, usable: bool = True, doubt_ms: float = 0) -> Stamped:
    """A frame of `source` at `t_ms`, arriving at once or at `arrival_ms`."""
    arrival = round((t_ms if arrival_ms is None else arrival_ms) * MS)
    return Stamped(Frame(source, MODALITY[source], seq, None, arrival, PIXEL), round(t_ms * MS), round(doubt_ms * MS), usable)


def synchroniser(hold_ms: int = 0, least: int = 0) -> Synchroniser:
    return Synchroniser([SyncSource(name, least, hold_ms * MS) for name in MODALITY], TOLERANCE, DEADLINE)


def shown(bundle: Bundle) -> dict[str, int]:
    """The sequence numbers in a bundle."""
    return {name: frame.seq for name, frame in bundle.frames.items()}


def train(period_ms: int, phase: int, jitters: Sequence[int], source: str, delays: Sequence[int]) -> list[Stamped]:
    """Frames of a source in the order of their times, never nearer than a quarter of the period."""
    frames = []
    for seq, (jitter, delay) in enumerate(zip(jitters, delays, strict=False), start=1):
        t = 1000 + phase + seq * period_ms + jitter * period_ms * 0.3 / 10
        frames.append(stamped(source, seq, t, t + delay))
    return frames


@st.composite
def rigs(draw: st.DrawFn) -> list[list[Stamped]]:
    """Three sources of any rates, phases, jitters and delays, some frames unusable."""
    lists = []
    for source in MODALITY:
        period, count = draw(st.sampled_from([16, 33, 40, 111])), draw(st.integers(0, 14))
        jitters = draw(st.lists(st.integers(-10, 10), min_size=count, max_size=count))
        delays = draw(st.lists(st.sampled_from([0, 1, 5, 20, 59, 150, 2000]), min_size=count, max_size=count))
        lists.append(train(period, draw(st.integers(0, 100)), jitters, source, delays))
    return lists


def in_order_of_arrival(lists: Sequence[Sequence[Stamped]]) -> list[Stamped]:
    """Everything as it comes: by arrival, each source's own order kept."""
    merged: list[tuple[int, Stamped]] = []
    for frames in lists:
        newest = 0
        for one in frames:
            newest = max(newest, one.frame.arrival_t_ns)
            merged.append((newest, one))
    return [one for _, one in sorted(merged, key=lambda pair: pair[0])]


def run(sync: Synchroniser, frames: Sequence[Stamped]) -> list[Bundle]:
    return [bundle for one in frames for bundle in sync.put(one)] + sync.flush()


@given(rigs(), st.sampled_from([0, 100, 500]))
def test_whatever_comes(lists: list[list[Stamped]], hold_ms: int) -> None:
    sync = synchroniser(hold_ms)
    bundles = run(sync, in_order_of_arrival(lists))
    # One bundle for each frame of the clock source, in order, numbered from 1.
    assert [bundle.frames["color"].seq for bundle in bundles] == [one.frame.seq for one in lists[0]]
    assert [bundle.number for bundle in bundles] == list(range(1, len(bundles) + 1))
    for name in ("depth", "thermal"):
        with_it = [bundle for bundle in bundles if name in bundle.frames]
        new = [bundle.frames[name].seq for bundle in with_it if name not in bundle.held]
        assert len(set(new)) == len(new), "a frame is new once"
        seqs = [bundle.frames[name].seq for bundle in with_it]
        assert seqs == sorted(seqs), "bundles never cross"
        times = {one.frame.seq: one.t_ns for one in lists[list(MODALITY).index(name)]}
        for bundle in bundles:
            assert (name in bundle.frames) != (name in bundle.missing)
            if name in bundle.frames:
                skew = bundle.skew_ns[name]
                assert skew == times[bundle.frames[name].seq] - bundle.t_ns
                assert abs(skew) <= TOLERANCE or (name in bundle.held and -max(hold_ms * MS, TOLERANCE) <= skew <= 0)
    # Every frame is accounted for.
    for name, frames in zip(MODALITY, lists, strict=True):
        assert sum(sync.fates[name].values()) == len(frames)


@given(rigs(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_matters_through_the_deadline_alone(lists: list[list[Stamped]], random: object) -> None:
    # All come at one moment, so no deadline passes; each source's own order stays.
    def arrivals(order: Sequence[int]) -> list[Bundle]:
        rest = [[Stamped(_at_once(one.frame), one.t_ns) for one in frames] for frames in lists]
        sync = synchroniser(100)
        said = []
        for index in order:
            if rest[index]:
                said += sync.put(rest[index].pop(0))
        return said + sync.flush()

    turns = [i for i, frames in enumerate(lists) for _ in frames]
    straight = arrivals(turns)
    random.shuffle(turns)  # type: ignore[attr-defined]
    assert [shown(b) for b in arrivals(turns)] == [shown(b) for b in straight]


def _at_once(frame: Frame) -> Frame:
    return Frame(frame.source, frame.modality, frame.seq, None, 10**9, PIXEL)


@given(rigs())
def test_memory_is_bounded(lists: list[list[Stamped]]) -> None:
    sync = synchroniser(500)
    for one in in_order_of_arrival([frames * 20 for frames in lists]):
        sync.put(one)
        assert all(told["waiting"] <= LONGEST_QUEUE + 1 for told in sync.fates.values())


def test_each_colour_frame_gets_its_nearest() -> None:
    sync = synchroniser()
    frames = [stamped("color", i, 100 + 33 * i) for i in range(1, 5)]
    frames += [stamped("depth", i, 95 + 33 * i) for i in range(1, 6)] + [stamped("thermal", i, 108 + 33 * i) for i in range(1, 5)]
    bundles = run(sync, sorted(frames, key=lambda one: one.frame.arrival_t_ns))
    assert [shown(b) for b in bundles] == [dict.fromkeys(MODALITY, i) for i in range(1, 5)]
    assert {b.skew_ns["depth"] for b in bundles} == {-5 * MS}
    assert {b.skew_ns["thermal"] for b in bundles} == {8 * MS}
    assert all(b.missing == b.held == () for b in bundles)


def test_a_slower_source_is_held_between_its_frames_and_said_to_be() -> None:
    sync = Synchroniser([SyncSource("color", 0), SyncSource("thermal", 0, 60 * MS)], 60 * MS, 200 * MS)
    frames = [stamped("color", i, 1000 + 33.3 * i) for i in range(1, 31)]
    frames += [stamped("thermal", i, 900 + 100 * i) for i in range(1, 12)]
    bundles = run(sync, sorted(frames, key=lambda one: one.t_ns))
    assert len(bundles) == 30
    assert Counter(b.frames["thermal"].seq for b in bundles if "thermal" not in b.held) == Counter(range(1, 12))
    assert all(abs(b.skew_ns["thermal"]) <= 51 * MS for b in bundles)


def test_a_bundle_is_out_as_soon_as_nothing_nearer_can_come() -> None:
    sync = Synchroniser([SyncSource("color", 0), SyncSource("depth", 25 * MS)], TOLERANCE, DEADLINE)
    assert sync.put(stamped("depth", 1, 100)) == []
    # The next depth frame is at 125 at the earliest: further from 110 than 100 is.
    assert [shown(b) for b in sync.put(stamped("color", 1, 110))] == [{"color": 1, "depth": 1}]
    assert sync.put(stamped("color", 2, 120)) == [], "one at 125 would be nearer than that at 100"
    assert [shown(b) for b in sync.put(stamped("depth", 2, 127))] == [{"color": 2, "depth": 2}]


def test_a_deadline_gives_an_explicit_partial_bundle() -> None:
    sync = synchroniser()
    sync.put(stamped("depth", 1, 100))
    sync.put(stamped("depth", 2, 133))
    assert sync.put(stamped("color", 1, 101)) == []
    assert sync.tick(160 * MS) == []
    (bundle,) = sync.tick(161 * MS)
    assert (shown(bundle), bundle.missing, bundle.held) == ({"color": 1, "depth": 1}, ("thermal",), ())


def test_nobody_waits_for_a_lost_source() -> None:
    sync = synchroniser()
    sync.await_source("thermal", False)
    sync.put(stamped("color", 1, 100))
    (bundle,) = sync.put(stamped("depth", 1, 101))
    assert bundle.missing == ("thermal",)
    sync.await_source("thermal", True)
    sync.put(stamped("color", 2, 133))
    assert sync.put(stamped("depth", 2, 134)) == []
    assert len(sync.await_source("thermal", False)) == 1


def test_a_shutter_holds_the_last_good_frame_then_the_source_is_missing() -> None:
    sync = synchroniser(hold_ms=200)
    bundles = []
    for i in range(1, 21):
        bundles += sync.put(stamped("depth", i, 40 * i)) + sync.put(stamped("thermal", i, 40 * i + 1, usable=i < 6))
        bundles += sync.put(stamped("color", i, 40 * i + 2))
    bundles += sync.flush()
    said = ["new" if not b.held and "thermal" in b.frames else "held" if "thermal" in b.held else "missing" for b in bundles]
    assert said == ["new"] * 5 + ["held"] * 4 + ["missing"] * 11
    assert {b.frames["thermal"].seq for b in bundles if "thermal" in b.held} == {5}
    assert sync.fates["thermal"]["unusable"] == 15


def test_a_frame_of_the_clock_source_whose_time_is_doubtful_goes_alone_and_at_once() -> None:
    sync = synchroniser()
    sync.put(stamped("depth", 1, 100))
    (alone,) = sync.put(stamped("color", 1, 100, doubt_ms=31))
    assert (shown(alone), alone.missing) == ({"color": 1}, ("depth", "thermal"))
    sync.put(stamped("color", 2, 105))
    (paired,) = sync.tick(200 * MS)
    assert (shown(paired), paired.held) == ({"color": 2, "depth": 1}, ()), "its pair had not been used"


def test_a_frame_whose_time_is_doubtful_beyond_the_tolerance_is_not_paired() -> None:
    sync = synchroniser()
    sync.put(stamped("depth", 1, 100, doubt_ms=31))
    (bundle,) = [*sync.put(stamped("color", 1, 100)), *sync.flush()]
    assert bundle.missing == ("depth", "thermal")


@given(st.sampled_from(["color", "depth"]), st.integers(1, 10))
def test_nothing_is_paired_across_a_jump(who: str, at: int) -> None:
    sync = synchroniser(hold_ms=1000)
    bundles = []
    for i in range(1, 15):
        if i == at:
            bundles += sync.forget(who)
        for name in MODALITY:
            bundles += sync.put(stamped(name, i, 1000 + 20 * i))
    bundles += sync.flush()
    assert [b.frames["color"].seq for b in bundles] == list(range(1, 15))
    for bundle in bundles:
        after = {name: frame.seq >= at for name, frame in bundle.frames.items()}
        paired = {after[name] for name in ("color", who) if name in after} if who == "depth" else set(after.values())
        assert len(paired) == 1


def test_times_that_run_back_within_a_source_are_late() -> None:
    sync = synchroniser()
    for seq, t in enumerate((100, 90, 120), start=1):
        sync.put(stamped("depth", seq, t))
    assert sync.fates["depth"] == {"late": 1, "waiting": 2}
    assert [b.frames["depth"].seq for b in (*sync.put(stamped("color", 1, 95)), *sync.flush())] == [1]
