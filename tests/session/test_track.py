"""Tracks: numbering, confirmation, coasting, ending, and which are reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.events import Box
from service.inputs import Detection
from service.perception.track import MATCH_IOU, Tracker, area, iou, keep, match

MS = 1_000_000


def _face(x: float, y: float = 0.0, side: float = 100.0) -> Detection:
    return Detection((x, y, x + side, y + side), 0.9, {})


corners = st.tuples(st.floats(0, 300), st.floats(0, 300), st.floats(1, 200), st.floats(1, 200))
boxes = corners.map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(boxes, boxes)
def test_iou_is_symmetric_bounded_and_one_for_itself(a: Box, b: Box) -> None:
    assert iou(a, b) == iou(b, a)
    assert 0.0 <= iou(a, b) <= 1.0 + 1e-9
    assert abs(iou(a, a) - 1.0) < 1e-9


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 130, 100), (0, 0, 130, 100), 1.0),
        ((0, 0, 130, 100), (70, 0, 200, 100), 0.3),  # 60 of 200 columns
        ((0, 0, 100, 130), (0, 70, 100, 200), 0.3),
        ((0, 0, 100, 100), (50, 50, 150, 150), 1 / 7),  # 2500 of 17500
        ((0, 0, 100, 100), (25, 25, 75, 75), 0.25),  # one inside the other
        ((0, 0, 100, 100), (100, 0, 200, 100), 0.0),
        ((0, 0, 100, 100), (150, 150, 250, 250), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
        ((100, 100, 0, 0), (0, 0, 100, 100), 0.0),
    ],
)
def test_iou_by_hand(a: Box, b: Box, expected: float) -> None:
    assert iou(a, b) == pytest.approx(expected)
    assert iou(b, a) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 20, 40, 60), 1200.0),
        ((0, 0, 100, 0), 0.0),
        ((0, 0, 0, 100), 0.0),
        ((0, 50, 100, 0), 0.0),
        ((50, 0, 0, 100), 0.0),
        ((50, 50, 0, 0), 0.0),
    ],
)
def test_a_box_without_width_or_height_has_no_area(box: Box, expected: float) -> None:
    assert area(box) == expected


@pytest.mark.parametrize(("shift", "same"), [(0, True), (40, True), (69, True), (70, True), (71, False), (130, False)])
def test_a_face_is_the_same_down_to_an_overlap_of_three_tenths(shift: int, same: bool) -> None:
    """Boxes 130 wide that are `shift` apart: (130 − shift) of (130 + shift) columns in common."""
    tracker = Tracker(1)
    tracker.update(0, [Detection((0, 0, 130, 100), 0.9, {})], 500 * MS)
    tracker.update(MS, [Detection((shift, 0, 130 + shift, 100), 0.8, {})], 500 * MS)
    assert [(t.number, t.face.box[0], t.matched) for t in tracker.tracks] == (
        [(1, shift, True)] if same else [(1, 0, False), (2, shift, True)]
    )


def test_the_greatest_overlap_is_matched_first() -> None:
    old: list[Box] = [(0, 0, 100, 100), (40, 0, 140, 100)]
    # 20 right of the first, 20 left of the second: 80 of 120; exactly on the second: it goes there.
    assert match(old, [(20, 0, 120, 100), (40, 0, 140, 100)]) == {0: 0, 1: 1}
    assert match(old, [(40, 0, 140, 100), (20, 0, 120, 100)]) == {0: 1, 1: 0}
    # As near to both: the lower number has it.
    assert match(old, [(20, 0, 120, 100)]) == {0: 0}
    # Nearest to the second, which leaves the first without one.
    assert match(old, [(30, 0, 130, 100)]) == {1: 0}


def test_a_track_follows_its_face_and_coasts_where_it_was_last() -> None:
    tracker = Tracker(3)
    for n in range(6):
        tracker.update(n * 33 * MS, [_face(40.0 * n)], 500 * MS)
        assert [(t.number, t.face.box[0], t.confirmed) for t in tracker.tracks] == [(1, 40.0 * n, n >= 2)]
    tracker.update(6 * 33 * MS, [], 500 * MS)
    (coasting,) = tracker.tracks
    assert (coasting.face.box[0], coasting.matched, coasting.seen_ns) == (200.0, False, 5 * 33 * MS)
    # Seen again: confirmed still, and measured from there.
    tracker.update(7 * 33 * MS, [_face(210.0)], 500 * MS)
    (again,) = tracker.tracks
    assert (again.number, again.face.box[0], again.matched, again.confirmed, again.seen_ns) == (
        1,
        210.0,
        True,
        True,
        7 * 33 * MS,
    )


@pytest.mark.parametrize(("silent_ms", "ended"), [(90, ()), (91, (1,))])
def test_a_track_coasts_up_to_the_gap_and_no_longer(silent_ms: int, ended: tuple[int, ...]) -> None:
    for forget in ("update", "expire"):
        tracker = Tracker(1)
        tracker.update(0, [_face(0)], 90 * MS)
        found = tracker.update(silent_ms * MS, [], 90 * MS) if forget == "update" else tracker.expire(silent_ms * MS, 90 * MS)
        assert found == ended
        assert [t.number for t in tracker.tracks] == ([] if ended else [1])


@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_matching_is_one_to_one_and_greedy(old: list[Box], new: list[Box]) -> None:
    pairs = match(old, new)
    assert len(set(pairs.values())) == len(pairs)
    for i, j in pairs.items():
        assert iou(old[i], new[j]) >= MATCH_IOU
    for i, a in enumerate(old):
        for j, b in enumerate(new):
            if iou(a, b) >= MATCH_IOU and pairs.get(i) != j:
                # Refused only because one side was taken by an overlap at least as great.
                rivals = [iou(old[i], new[pairs[i]])] if i in pairs else []
                rivals += [iou(old[k], b) for k, m in pairs.items() if m == j]
                assert rivals
                assert max(rivals) >= iou(a, b)


def test_confirmed_after_three_in_a_row_coasts_then_ends() -> None:
    tracker = Tracker(3)
    for i in range(3):
        tracker.update(i * 33 * MS, [_face(i)], 90 * MS)
        assert tracker.tracks[0].confirmed == (i == 2)
    assert tracker.update(99 * MS, [], 90 * MS) == ()
    assert not tracker.tracks[0].matched
    assert tracker.update(132 * MS, [], 90 * MS) == ()
    assert tracker.update(165 * MS, [], 90 * MS) == (1,)
    assert tracker.tracks == ()
    tracker.update(198 * MS, [_face(0)], 90 * MS)
    assert tracker.tracks[0].number == 2


def test_a_tentative_track_ends_at_its_first_miss() -> None:
    tracker = Tracker(3)
    tracker.update(0, [_face(0)], 500 * MS)
    tracker.update(MS, [_face(0)], 500 * MS)
    assert tracker.update(2 * MS, [], 500 * MS) == (1,)


def test_a_face_back_after_the_gap_is_a_new_track_even_in_the_same_place() -> None:
    tracker = Tracker(1)
    tracker.update(0, [_face(0)], 90 * MS)
    assert tracker.update(91 * MS, [_face(0)], 90 * MS) == (1,)
    assert tracker.tracks[0].number == 2


def test_expire_and_reset_end_tracks_but_numbers_go_on() -> None:
    tracker = Tracker(1)
    tracker.update(0, [_face(0), _face(500)], 90 * MS)
    assert tracker.expire(90 * MS, 90 * MS) == ()
    assert tracker.expire(91 * MS, 90 * MS) == (1, 2)
    tracker.update(100 * MS, [_face(0)], 90 * MS)
    assert tracker.reset() == (3,)
    tracker.update(101 * MS, [_face(0)], 90 * MS)
    assert tracker.tracks[0].number == 4


@given(st.lists(st.tuples(st.floats(1, 50), st.booleans()), min_size=1, max_size=8), st.integers(1, 9))
def test_keep_prefers_confirmed_then_larger_then_older(faces: list[tuple[float, bool]], n: int) -> None:
    tracker = Tracker(1)
    tracker.update(0, [_face(1000.0 * i, side=side) for i, (side, _) in enumerate(faces)], 90 * MS)
    tracks = [_with(track, confirmed) for track, (_, confirmed) in zip(tracker.tracks, faces, strict=True)]
    kept = keep(tracks, n)
    assert [t.number for t in kept] == sorted(t.number for t in kept)
    for inside in kept:
        for outside in (t for t in tracks if t not in kept):
            assert (inside.confirmed, area(inside.face.box), -inside.number) > (
                outside.confirmed,
                area(outside.face.box),
                -outside.number,
            )


def _with(track: object, confirmed: bool) -> object:
    from dataclasses import replace

    return replace(track, confirmed=confirmed)  # type: ignore[type-var]
