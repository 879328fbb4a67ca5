"""Row 5: a million frames; rates of 0 and a million; stamps below zero."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

from tests.clips import made
from tests.clips.at_work import ClipServer, serving


def test_a_million_announced_frames_are_refused(clip_server: ClipServer, tmp_path: Path) -> None:
    answer = clip_server.send(made.repeated(tmp_path / "many.mp4", 1_000_000, (64, 48), Fraction(1, 10_000)), "?wait=30")
    assert (answer.status, answer.code) == (422, "clip-limits-exceeded")
    assert (answer.json["limit"], answer.json["actual"]) == (18_000, 1_000_000)


def test_a_million_frames_per_second_are_refused(clip_server: ClipServer, tmp_path: Path) -> None:
    answer = clip_server.send(made.repeated(tmp_path / "fast.mp4", 3000, (64, 48), Fraction(1, 1_000_000)), "?wait=30")
    assert (answer.status, answer.code, answer.json["limit"]) == (422, "clip-limits-exceeded", 120)


def test_frames_that_no_header_announces_are_counted(tmp_path: Path) -> None:
    clip = made.clip(tmp_path / "long.mkv", frames=400, fps=100)
    with serving(tmp_path / "state", max_frames=300) as server:
        answer = server.send(clip, "?wait=30")
    assert (answer.status, answer.code) == (422, "clip-limits-exceeded")
    assert (answer.json["limit"], answer.json["actual"]) == (300, 301)


def test_a_rate_of_zero_or_of_no_number_harms_nobody(clip_server: ClipServer, tmp_path: Path) -> None:
    whole = made.clip(tmp_path / "a.avi", codec="mjpeg").read_bytes()
    at = whole.index(b"strh") + 8 + 20
    for scale, rate in ((1, 0), (0, 0), (0, 25)):
        answer = clip_server.send(whole[:at] + struct.pack("<II", scale, rate) + whole[at + 8 :], "?wait=30")
        # What is no rate is replaced by the one that the file's main header has: 33 333 µs for a frame.
        times = [event["t_ns"] for event in answer.json["events"] if event["type"] == "result"]
        assert (answer.status, times) == (200, [33_333_000 * number for number in range(12)]), (scale, rate)
    answer = clip_server.send(whole[:at] + struct.pack("<II", 1, 0xFFFFFFFF) + whole[at + 8 :], "?wait=30")
    assert (answer.status, answer.code, answer.json["limit"]) == (422, "clip-limits-exceeded", 120)


def test_stamps_below_zero_are_stamps(clip_server: ClipServer, tmp_path: Path) -> None:
    clip = made.clip(tmp_path / "early.ts", first=-20, options={"avoid_negative_ts": "disabled"})
    answer = clip_server.send(clip, "?wait=30")
    assert answer.status == 200
    assert [event["t_ns"] for event in answer.json["events"]] == [round(n * 1e9 / 30) for n in range(12)]
