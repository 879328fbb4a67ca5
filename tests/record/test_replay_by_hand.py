"""A recording whose log and events are written by hand: what each entry means, and what counts as a difference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from capture.frame import Bundle, Frame, SourceState, Tick
from capture.playback import Noted, Playback, open_recording
from capture.recorded import Consent, Epoch, RecordingError, dumped
from capture.tape import Note, Tape
from service.events import Event, Prediction, SessionEvent, line
from service.input_log import EVENT_SCHEMA, EVENTS, INPUT_SCHEMA, INPUTS, entry, loss
from service.inputs import Change
from service.messages import Dropped
from service.perception.synthetic import table
from service.replay import Replay, Verdict, recipe_of
from tests.session.world import MS, D, face, model, odds, pipeline

EPOCH = Epoch(1_700_000_000_000_000_000, 0)
MOODS = {
    1: (0.7, 0.1, 0.1, 0.1),
    2: (0.1, 0.7, 0.1, 0.1),
    3: (0.1, 0.1, 0.7, 0.1),
    4: (0.1, 0.1, 0.1, 0.7),
    5: (0.7, 0.1, 0.1, 0.1),
}
LABELS = {1: "neutral", 2: "happy", 3: "sad", 4: "angry", 5: "neutral"}
"""What the frame of each read shows."""

# The session of a model of one frame, hop 2. Frame 3 was superseded, 4 is damaged, 5 never became a picture. From frame 6
# on, which shows what read 5 gave, every frame is due.
LOG = """
{"kind":"bundle","number":1,"t_ns":0,"clock":"host","arrival_ns":5,"frames":{"cam":{"seq":1,"flags":[]}},"skew_ns":{},"missing":[],"held":[]}
{"kind":"bundle","number":2,"t_ns":40000000,"clock":"host","arrival_ns":40000005,"frames":{"cam":{"seq":2,"flags":[]}},"skew_ns":{"cam":0,"deep":-3000000},"missing":["warm"],"held":["deep"]}
{"kind":"dropped","first":3,"last":3,"reason":"superseded"}
{"kind":"source","source":"cam","modality":"color","state":"lost","since_ns":41000000,"detail":"unplugged"}
{"kind":"bundle","number":4,"t_ns":80000000,"clock":"host","arrival_ns":80000005,"frames":{"cam":{"seq":4,"flags":["corrupt"]}},"skew_ns":{},"missing":[],"held":[]}
{"kind":"rejected","number":5,"code":"image-broken","detail":"kein Bild: größer"}
{"kind":"change","model":null,"hop":1,"faces":null}
{"kind":"bundle","number":6,"t_ns":120000000,"clock":"host","arrival_ns":120000005,"frames":{"cam":{"seq":5,"flags":[]}},"skew_ns":{},"missing":[],"held":[]}
{"kind":"tick","t_ns":620000001}
{"kind":"bundle","number":7,"t_ns":500000000,"clock":"host","arrival_ns":640000000,"frames":{"cam":{"seq":6,"flags":[]}},"skew_ns":{},"missing":[],"held":[]}
""".strip().splitlines()
REFUSED = '{"type":"frame.rejected","frame":4,"code":"image-broken","detail":"the decoder found damage in this frame and covered it up"}'
LOST = '{"type":"source","name":"cam","state":"lost","modality":"color","since_ns":41000000}'
BROKEN = '{"type":"frame.rejected","frame":5,"code":"image-broken","detail":"kein Bild: größer"}'


def frame(seq: int) -> Frame:
    mood = odds(*MOODS.get(seq, MOODS[1]))
    return Frame("cam", "color", seq, None, (seq - 1) * 20 * MS, table([face(mood=mood)], D))


def recording(path: Path, log: Sequence[str], events: Sequence[str], end: str = "ended") -> Playback:
    """Frames, then the log, then events: all were there before what followed from them. `end`: how it ended, "" not at all."""
    with Tape(path, EPOCH, Consent(None, "2026-01-01T00:00:00Z", "generated"), {"session": {}}) as tape:
        for seq in range(1, 7):
            tape.frame(frame(seq))
        for text in log:
            tape.note(Note(INPUTS, INPUT_SCHEMA, text.encode(), 0))
        for text in events:
            tape.note(Note(EVENTS, EVENT_SCHEMA, text.encode(), 0))
        if end:
            tape.metadata("mien.end", {} if end == "ended" else {"error": end})
    return open_recording(path)


def replayed(playback: Playback) -> tuple[list[SessionEvent], Replay]:
    replay = Replay(playback, pipeline(model(1, 1, 2), confirm=1), lambda id: None)
    return list(replay.events()), replay


def test_each_entry_of_a_log_means_what_it_says(tmp_path: Path) -> None:
    said, _ = replayed(recording(tmp_path / "a.mcap", LOG, []))
    results = [event for event in said if isinstance(event, Event)]
    assert [line(event) for event in said if not isinstance(event, Event)] == [LOST, REFUSED, BROKEN]
    assert [type(event).__name__ for event in said] == [
        "Event",
        "Event",
        "SourceEvent",
        "Rejected",
        "Rejected",
        "Event",
        "Event",
    ]
    assert [(event.frame, event.t_ns // MS, event.due) for event in results] == [
        (1, 0, False),
        (2, 40, True),
        (6, 120, True),
        (7, 500, True),
    ]
    predictions = [face.prediction for event in results for face in event.faces]
    assert [p.label if p else None for p in predictions] == [None, LABELS[2], LABELS[5], "neutral"]
    second = predictions[1]
    assert isinstance(second, Prediction)
    assert (second.sync.held, dict(second.sync.skew_ms), second.sync.clock) == (
        ("deep",),
        {"cam": 0.0, "deep": -3.0},
        "host",
    )
    # The tick came 500 ms and a nanosecond after frame 6: its track has ended.
    assert [face.track for event in results for face in event.faces] == [1, 1, 1, 2]


def test_a_bundle_shows_the_frame_of_the_read_it_names(tmp_path: Path) -> None:
    log = [text for text in LOG if '"bundle"' in text and '"corrupt"' not in text]
    for number, seq in ((2, 2), (2, 3), (2, 4)):
        changed = [text.replace('"seq":2', f'"seq":{seq}') if f'"number":{number}' in text else text for text in log]
        said, _ = replayed(recording(tmp_path / f"{seq}.mcap", changed, []))
        (second,) = [event for event in said if isinstance(event, Event) and event.frame == 2]
        assert second.faces[0].prediction is not None
        assert second.faces[0].prediction.label == LABELS[seq]


def test_a_frame_that_was_not_recorded_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="the input log names frame 9 of 'cam', which was not recorded before") as caught:
        replayed(recording(tmp_path / "a.mcap", [LOG[0].replace('"seq":1', '"seq":9')], []))
    assert caught.value.code == "recording-broken"


def test_inputs_are_written_as_they_are_read() -> None:
    """The other direction: each line of the log, word for word, from what a session took."""
    taken = {
        1: Bundle(2, 40 * MS, "host", 40 * MS + 5, {"cam": frame(2)}, {"cam": 0, "deep": -3 * MS}, ("warm",), ("deep",)),
        3: SourceState("cam", "color", "lost", 41 * MS, "unplugged"),
        6: Change(hop=1),
        8: Tick(620 * MS + 1),
    }
    assert {number: dumped(entry(one)).decode() for number, one in taken.items()} == {number: LOG[number] for number in taken}
    assert dumped(loss(Dropped((3, 3), "superseded"))).decode() == LOG[2]
    assert dumped(entry(Change("other", 0.5, None, 2))).decode() == '{"kind":"change","model":"other","hop":null,"faces":2,"period_ms":0.5}'
    assert dumped(entry(Change(period_ms=None))).decode() == '{"kind":"change","model":null,"hop":null,"faces":null,"period_ms":null}'


# Equal or not.

A, B, C = '{"type":"a"}', '{"type":"b"}', '{"type":"c"}'
COMPARED: dict[str, tuple[list[str], list[str], bool, bool, int | None]] = {
    # Replayed, recorded, whether the recording was cut, then: equal, and the line in which they differ.
    "the same": ([A, B, C], [A, B, C], False, True, None),
    "nothing": ([], [], False, True, None),
    "one other": ([A, B, C], [A, A, C], False, False, 2),
    "two others": ([A, B, C], [C, B, A], False, False, 1),
    "another order": ([A, B, C], [A, C, B], False, False, 2),
    "the last is missing in the recording": ([A, B, C], [A, B], False, False, None),
    "all are missing in the recording": ([A], [], False, False, None),
    "one more is recorded": ([A, B], [A, B, C], False, False, None),
    "the first is missing in the recording": ([A, B, C], [B, C], False, False, 1),
    "cut: the last may be missing": ([A, B, C], [A, B], True, True, None),
    "cut: no more may be recorded than follows": ([A, B], [A, B, C], True, False, None),
    "cut: what is there must be the same": ([A, B, C], [A, C], True, False, 2),
}


@pytest.mark.parametrize(("ours", "theirs", "cut", "equal", "differs_at"), COMPARED.values(), ids=COMPARED)
@pytest.mark.parametrize("order", ["replayed first", "recorded first", "in turn"])
def test_a_verdict(ours: list[str], theirs: list[str], cut: bool, equal: bool, differs_at: int | None, order: str) -> None:
    verdict = Verdict(cut=cut)
    if order == "in turn":
        for k in range(max(len(ours), len(theirs))):
            if k < len(ours):
                verdict.heard(ours[k])
            if k < len(theirs):
                verdict.read(theirs[k])
    else:
        first, second = (verdict.heard, ours), (verdict.read, theirs)
        for take, lines in (first, second) if order == "replayed first" else (second, first):
            for text in lines:
                take(text)
    assert (verdict.equal, verdict.differs_at) == (equal, differs_at)
    assert (verdict.replayed, verdict.recorded) == (len(ours), len(theirs))


SHORT = [LOG[3], LOG[5], LOG[3].replace("lost", "back").replace("41000000", "42000000")]
BACK = LOST.replace("lost", "back").replace("41000000", "42000000")


@pytest.mark.parametrize(
    ("events", "equal"),
    [
        ([LOST, BROKEN, BACK], True),
        ([LOST, BROKEN], False),
        ([BROKEN, BACK], False),
        ([], False),
        ([LOST, BROKEN, BACK, BACK], False),
        ([LOST, BACK, BROKEN], False),
        ([LOST, BROKEN.replace("größer", "größer "), BACK], False),
        ([LOST, BROKEN, BACK.replace("42000000", "42000001")], False),
    ],
)
def test_a_replay_is_compared_with_every_event_that_was_recorded(tmp_path: Path, events: list[str], equal: bool) -> None:
    said, replay = replayed(recording(tmp_path / "a.mcap", SHORT, events))
    assert [line(event) for event in said] == [LOST, BROKEN, BACK]
    assert replay.verdict.equal is equal


@pytest.mark.parametrize(("end", "equal"), [("ended", False), ("recording-overflow", True), ("", True)])
def test_only_a_recording_that_was_cut_off_may_lack_its_last_events(tmp_path: Path, end: str, equal: bool) -> None:
    _, replay = replayed(recording(tmp_path / "a.mcap", SHORT, [LOST, BROKEN], end))
    assert replay.verdict.equal is equal


def test_a_recipe_is_what_the_recording_says(tmp_path: Path) -> None:
    about: dict[str, Any] = {
        "model": "a", "model_sha256": "1", "detector": "b", "detector_sha256": "2", "backend": "c", "faces": 3, "hop": None,
    }  # fmt: skip
    with Tape(tmp_path / "a.mcap", EPOCH, Consent(None, "2026-01-01T00:00:00Z", "x"), {"session": about}) as tape:
        tape.frame(frame(1))
    recipe = recipe_of(open_recording(tmp_path / "a.mcap"))
    assert (recipe.model, recipe.model_sha256, recipe.detector, recipe.detector_sha256) == ("a", "1", "b", "2")
    assert (recipe.backend, recipe.faces, recipe.hop, recipe.rig) == ("c", 3, None, None)
    with pytest.raises(RecordingError, match="does not say what its session was made of"):
        recipe_of(recording(tmp_path / "b.mcap", [], []))


def test_notes_come_back_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    playback = recording(tmp_path / "a.mcap", LOG, [A, B])
    bodies = [one.body for one in playback.entries() if isinstance(one, Noted)]
    assert bodies == [json.loads(text) for text in [*LOG, A, B]]
