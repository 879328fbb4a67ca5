"""A live session recorded and replayed: the same bytes, twice, and equal to the live run's."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from capture.frame import Bundle, Frame, SourceInfo, SourceState
from capture.playback import Noted, open_recording
from capture.recorded import Consent, Epoch, Json, RecordingError, dumped
from capture.tape import Note, Tape
from service.cli import app
from service.events import Rejected, line
from service.feed import FeedOptions
from service.input_log import EVENT_SCHEMA, EVENTS, INPUT_SCHEMA, INPUTS, entry, loss
from service.inputs import Change, Input, Keep, Tick
from service.live import LiveLoop
from service.messages import Dropped, Failure, Output, Updated
from service.pipeline import Pipeline
from service.recording import LiveRecording
from service.replay import Replay
from service.resync import resynced
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions
from tests.api.tiny import Brightness, Shelf
from tests.session.world import bundle, face, model, pipeline
from tests.small_disk import small_disk
from tests.waiting import PATIENCE_S, until

EPOCH = Epoch(1_700_000_000_000_000_000, 5_000_000_000)
CONSENT = Consent(None, "2026-01-01T00:00:00Z", "generated pictures")
RECIPE = {
    "model": "tiny",
    "model_sha256": "0",
    "detector": "d",
    "detector_sha256": "0",
    "backend": "x",
    "faces": 1,
    "hop": None,
}
MODELS = {"second": model(3, 3, 1, id="second")}

# At the level of a session: whatever it takes.


def _pipeline() -> Pipeline:
    return pipeline(model(4, 8, 2), confirm=2, models=MODELS, faces=2)


steps = st.one_of(
    st.tuples(st.just("frame"), st.integers(0, 3), st.integers(10, 700)),
    st.tuples(st.just("drop"), st.integers(1, 5), st.sampled_from(["superseded", "rate", "overload", "closed"])),
    st.tuples(
        st.just("change"), st.none() | st.sampled_from(["second", "synthetic-expression"]), st.none() | st.integers(1, 4),
        st.none() | st.integers(1, 3), st.sampled_from([Keep.KEEP, None, 50.0, 0.1 + 0.2]),
    ),
    st.tuples(st.just("state"), st.sampled_from(["lost", "frozen", "back", "timebase-reset"])),
    st.tuples(st.just("tick"), st.integers(0, 10**10)),
    st.tuples(st.just("rejected"), st.text(max_size=20)),
)  # fmt: skip


@given(st.lists(steps, max_size=40))
@settings(max_examples=60)
def test_whatever_a_session_took_replays_to_the_same_bytes(plan: list[tuple[Any, ...]]) -> None:
    live, said, number, t_ns = _pipeline(), list[str](), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mcap"
        with Tape(path, EPOCH, CONSENT, {"session": RECIPE}) as tape:

            def note(topic: str, schema: Any, data: bytes) -> None:
                tape.note(Note(topic, schema, data, EPOCH.monotonic_ns))

            def take(given: Input) -> None:
                events = live.push(given)
                note(INPUTS, INPUT_SCHEMA, dumped(entry(given)))
                tell([line(event) for event in events])

            def tell(lines: Sequence[str]) -> None:
                for text in lines:
                    said.append(text)
                    note(EVENTS, EVENT_SCHEMA, text.encode())

            for kind, *rest in plan:
                if kind in ("frame", "drop", "rejected"):
                    count = rest[0] if kind == "drop" else 1
                    number += count
                if kind == "frame":
                    t_ns += rest[1] * 1_000_000
                    made = bundle(number, [face(who, x=300.0 * who, mood=(number, 1, who, 0)) for who in range(rest[0])], t_ns)
                    tape.frame(made.frames["cam"])
                    take(made)
                elif kind == "drop":
                    note(INPUTS, INPUT_SCHEMA, dumped(loss(Dropped((number - rest[0] + 1, number), rest[1]))))
                elif kind == "rejected":
                    refused = Rejected(number, "image-broken", rest[0])
                    note(INPUTS, INPUT_SCHEMA, dumped(loss(refused)))
                    tell([line(refused)])
                elif kind == "change":
                    take(Change(model=rest[0], hop=rest[1], faces=rest[2], period_ms=rest[3]))
                elif kind == "state":
                    take(SourceState("cam", "color", rest[0], t_ns, "why"))
                else:
                    take(Tick(rest[0]))
        for _ in range(2):
            replay = Replay(open_recording(path), _pipeline(), lambda id: None)
            assert [line(event) for event in replay.events()] == said
            assert replay.verdict.equal


def test_every_kind_of_input_survives_the_log() -> None:
    frame = Frame("cam", "color", 7, None, 9, data=bundle(1, []).frames["cam"].data)
    flagged = Frame("cam", "color", 7, None, 9, data=frame.data, flags=frozenset({"frozen"}))
    taken = Bundle(3, -5, "host", 9, {"cam": flagged}, {"cam": 0, "ir": -3}, ("depth",), ("ir",))
    from service.input_log import given as read

    back = read(json.loads(dumped(entry(taken))), lambda source, seq: {("cam", 7): frame}[source, seq])
    assert isinstance(back, Bundle)
    assert entry(back) == entry(taken)
    assert (back.frames["cam"].flags, dict(back.skew_ns), back.missing, back.held) == (
        flagged.flags,
        {"cam": 0, "ir": -3},
        ("depth",),
        ("ir",),
    )
    for other in (
        Tick(4),
        Change(hop=2),
        Change(period_ms=None),
        Change(period_ms=0.1 + 0.2),
        SourceState("a", "ir", "back", 3, "x"),
    ):
        assert read(json.loads(dumped(entry(other))), lambda source, seq: frame) == other
    for lost in (Dropped((1, 4), "rate"), Rejected(3, "a", "b")):
        assert read(json.loads(dumped(loss(lost))), lambda source, seq: frame) == lost
    for broken in (
        {},
        {"kind": "x"},
        {"kind": "bundle"},
        {"kind": "tick", "t_ns": "soon"},
        {"kind": "bundle", "frames": 3},
    ):
        with pytest.raises(RecordingError, match="cannot be read"):
            read(broken, lambda source, seq: frame)


# At the level of the live loop: real threads, real losses.


class Heard:
    """Collects what a recorded session says."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failures: list[Failure] = []
        self.updated = 0

    def __call__(self, output: Output) -> None:
        self.updated += isinstance(output.message, Updated)
        if isinstance(output.message, Failure):
            self.failures.append(output.message)
        elif type(output.message).__name__ in ("Event", "Rejected", "SourceEvent", "ClipPrediction"):
            self.lines.append(line(output.message))  # type: ignore[arg-type]


def _recorded(
    path: Path, uri: str, slow: bool = False, during: Callable[[LiveLoop, LiveRecording], None] | None = None, heard: Heard | None = None,
    **limits: int,
) -> Heard:  # fmt: skip
    """Record a camera to its end. `slow`: each row of a network takes as long as two frames take to come."""
    shelf, heard = Shelf(), heard or Heard()
    loop = LiveLoop(shelf, Brightness(), max_sessions=1)  # type: ignore[arg-type]
    loop.start()
    tape = Tape(path, Epoch(time.time_ns(), time.monotonic_ns()), CONSENT, {"session": RECIPE})
    recording = LiveRecording(loop, tape, heard, None, **limits)

    def two_more() -> None:
        received = recording.camera.feed.ledger.counts().received
        until(
            lambda: recording.camera.over or recording.camera.feed.ledger.counts().received >= received + 2,
            "two frames",
            every_s=0.001,
        )

    if slow:
        opened = threading.Event()
        shelf.before_row = lambda: opened.wait(PATIENCE_S) and two_more()
    recording.start("cam", uri, FeedOptions("tiny"))
    if slow:
        opened.set()
    if during is not None:
        during(loop, recording)
    recording.run(threading.Event(), PATIENCE_S)
    done = recording.stop()
    assert (done.events, done.features) == (len(heard.lines), 0)
    return heard


def _replay(path: Path) -> tuple[list[str], Replay]:
    shelf = Shelf()
    models = {"tiny": shelf.load("tiny")}
    session = Session(models["tiny"], Brightness(), SessionOptions(models=models))  # type: ignore[arg-type]
    replay = Replay(
        open_recording(path),
        Pipeline(session, Batcher(shelf.engines, shelf.max_batch)),
        lambda id: models.setdefault(id, shelf.load(id)),
    )
    return [line(event) for event in replay.events()], replay


def test_a_live_run_replays_to_the_same_bytes_whatever_was_lost(tmp_path: Path) -> None:
    """A network slower than the camera: frames are superseded, the ladder stretches the hop, and a Change comes in between."""

    heard = Heard()

    def change(loop: LiveLoop, recording: LiveRecording) -> None:
        until(lambda: len(heard.lines) >= 10, "some results under the old settings")
        updated = heard.updated
        loop.change(recording.camera.feed, Change(model="late", faces=1))
        until(lambda: heard.updated > updated, "the other model")
        loop.change(recording.camera.feed, Change(hop=3))

    _recorded(tmp_path / "a.mcap", "synthetic:?width=64&height=48&fps=100&count=300", slow=True, during=change, heard=heard)
    entries = [e.body for e in open_recording(tmp_path / "a.mcap").entries() if isinstance(e, Noted) and e.topic == INPUTS]
    kinds = [body["kind"] for body in entries]
    assert kinds.count("bundle") >= 20
    assert any(body["kind"] == "dropped" and body["reason"] == "superseded" for body in entries)
    assert [body["model"] for body in entries if body["kind"] == "change" and body["model"]] == ["late"]
    numbers = [body["number"] for body in entries if body["kind"] == "bundle"]
    for body in entries:
        if body["kind"] == "dropped":
            numbers += range(body["first"], body["last"] + 1)
    assert sorted(numbers) == list(range(1, 301))  # every number has one end
    assert len([e for e in open_recording(tmp_path / "a.mcap").entries() if isinstance(e, Frame)]) == 300
    for _ in range(2):
        lines, replay = _replay(tmp_path / "a.mcap")
        assert lines == heard.lines
        assert replay.verdict.equal
    end = open_recording(tmp_path / "a.mcap")
    list(end.entries())
    assert end.metadata["mien.end"]["received"] == "300"


def test_an_overflow_is_said_live_and_what_came_before_it_replays(tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(RecordingError) as caught:
        _recorded(
            tmp_path / "a.mcap",
            "synthetic:?width=640&height=480&realtime=0&count=1000",
            heard=heard,
            max_bytes=2_000_000,
        )
    assert caught.value.code == "recording-overflow"
    assert [failure.code for failure in heard.failures] == ["recording-overflow"]
    lines, replay = _replay(tmp_path / "a.mcap")
    assert lines == heard.lines[: len(lines)]
    assert replay.verdict.equal


def _copied(source: Path, target: Path, change: Callable[[list[Json]], list[Json]]) -> None:
    """Copy a recording, its events changed."""
    whole = open_recording(source)
    entries = list(whole.entries())
    events = [item.body for item in entries if isinstance(item, Noted) and item.topic == EVENTS]
    with Tape(target, whole.epoch, CONSENT, {"session": json.loads(whole.metadata["mien.recording"]["session"])}) as tape:
        for item in entries:
            if isinstance(item, Frame):
                tape.frame(item)
            elif isinstance(item, SourceInfo):
                tape.source(item)
            elif isinstance(item, Noted) and item.topic == INPUTS:
                tape.note(Note(INPUTS, INPUT_SCHEMA, dumped(item.body), EPOCH.monotonic_ns))
        for body in change(events):
            tape.note(Note(EVENTS, EVENT_SCHEMA, dumped(body), EPOCH.monotonic_ns))
        tape.metadata("mien.end", whole.metadata["mien.end"])


def test_a_changed_event_is_found(tmp_path: Path) -> None:
    _recorded(tmp_path / "a.mcap", "synthetic:?width=64&height=48&fps=100&count=20")
    places = []

    def changed(events: list[dict[str, object]]) -> list[dict[str, object]]:
        """Change the one in the middle: a busy machine uses fewer frames of the twenty."""
        places.append(at := len(events) // 2)
        return [*events[:at], events[at] | {"t_ns": 1}, *events[at + 1 :]]

    _copied(tmp_path / "a.mcap", tmp_path / "b.mcap", changed)
    _, replay = _replay(tmp_path / "b.mcap")
    assert not replay.verdict.equal
    assert replay.verdict.differs_at == places[0] + 1


def test_resync_takes_every_frame_and_repeats_itself(tmp_path: Path) -> None:
    _recorded(tmp_path / "a.mcap", "synthetic:?width=64&height=48&fps=100&count=40", slow=True)
    assert len(_replay(tmp_path / "a.mcap")[0]) < 35
    runs = []
    for _ in range(2):
        shelf = Shelf()
        session = Session(shelf.load("tiny"), Brightness(), SessionOptions())  # type: ignore[arg-type]
        pipe = Pipeline(session, Batcher(shelf.engines, shelf.max_batch))
        runs.append(
            [line(e) for item in resynced(open_recording(tmp_path / "a.mcap")) for e in pipe.push(item) if not isinstance(item, Rejected)]
        )  # type: ignore[arg-type]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 40


# At the level of the command line: real networks, real faces.


def mien(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_commands_record_and_replay_a_real_clip(media: Path, tmp_path: Path) -> None:
    path, clip = tmp_path / "a.mcap", f"video:{media / 'single_face.mp4'}?realtime=1"
    done = mien("record", clip, "-o", path, "--consent", "Ada", "--purpose", "a test", "--events", "--hop", "2")
    assert done.exit_code == 0, done.stderr
    live = done.stdout
    assert sum(bool(face["prediction"]) for text in live.splitlines() for face in json.loads(text).get("faces", ())) >= 5
    assert "recorded 72 frames" in done.stderr
    for _ in range(2):
        again = mien("replay", path, "--check")
        assert (again.exit_code, again.stdout) == (0, live), again.stderr
    assert "equal to those recorded" in again.stderr
    changes: dict[str, Callable[[list[Json]], list[Json]]] = {
        "none": lambda events: events, "fewer": lambda events: events[:-1], "more": lambda events: [*events, events[-1]],
    }  # fmt: skip
    for name, change in changes.items():
        _copied(path, tmp_path / f"{name}.mcap", change)
        told = mien("replay", tmp_path / f"{name}.mcap", "--check")
        assert (told.exit_code, "NOT equal" in told.stderr, told.stdout) == (
            int(name != "none"),
            name != "none",
            live,
        ), name
    as_clip = mien("replay", path, "--clip")
    assert as_clip.stdout.startswith(live)
    assert json.loads(as_clip.stdout.splitlines()[-1])["type"] == "clip_prediction"
    resync = mien("replay", path, "--resync")
    assert [json.loads(text)["frame"] for text in resync.stdout.splitlines()] == list(range(1, 73))
    again = mien("record", clip, "-o", path, "--no-consent", "a public clip")
    assert (again.exit_code, "file-exists" in again.stderr) == (1, True)


def test_without_pixels_there_are_features_and_events_and_no_replay(media: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    done = mien(
        "record",
        f"video:{media / 'single_face.mp4'}?realtime=1",
        "-o",
        path,
        "--no-consent",
        "a public clip",
        "--features-only",
    )
    assert done.exit_code == 0, done.stderr
    playback = open_recording(path)
    features = [e.body for e in playback.entries() if isinstance(e, Noted) and e.topic == "/mien/features"]
    assert features, "a busy machine uses fewer frames, but some"
    assert f"({len(features)} feature vectors, no pixels)" in done.stderr
    # One face at 30 frames per second.
    assert {body["track"] for body in features} == {1}
    assert all(abs(body["t_ns"] - (body["frame"] - 1) * 1e9 / 30) < 1 for body in features)
    numbers = [body["frame"] for body in features]
    assert numbers == sorted(set(numbers))
    assert {len(body["feature"]) for body in features} == {len(features[0]["feature"])}
    assert playback.messages is not None
    assert not any(name.endswith("/image") for name in playback.messages)
    assert path.stat().st_size < 1_000_000
    refused = mien("replay", path)
    assert (refused.exit_code, "no-pixels" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--consent", "Ada"),
        ("--purpose", "x"),
        ("--consent", "Ada", "--no-consent", "x"),
        ("--no-consent", " "),
        ("--consent", "", "--purpose", "x"),
    ],
)
def test_nobody_is_recorded_without_a_receipt(flags: tuple[str, ...], tmp_path: Path) -> None:
    result = mien("record", "synthetic:?count=3", "-o", tmp_path / "a.mcap", *flags)
    assert result.exit_code == 2
    assert "consent" in result.stderr
    assert not (tmp_path / "a.mcap").exists()


@pytest.mark.proof
def test_row_15_a_full_disk_is_said_once_and_ends_the_command(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        result = mien(
            "record",
            "synthetic:?width=160&height=120&fps=60",
            "-o",
            disk / "a.mcap",
            "--no-consent",
            "generated",
            "--duration",
            "60",
        )
        assert (result.exit_code, result.stderr.count("storage-full")) == (1, 1), result.stderr
        again = mien("replay", disk / "a.mcap", "--check")
        assert (again.exit_code, "equal to those recorded" in again.stderr) == (0, True), again.stderr
        assert len(again.stdout.splitlines()) >= 10


def test_a_camera_that_does_not_open_leaves_no_file(tmp_path: Path) -> None:
    result = mien("record", "video:nowhere.mp4", "-o", tmp_path / "a.mcap", "--no-consent", "x")
    assert (result.exit_code, "no-such-file" in result.stderr, result.stderr.count("\n")) == (1, True, 1), "nothing of a lost source"
    assert not (tmp_path / "a.mcap").exists()


def test_a_recording_that_is_terminated_while_its_camera_opens_leaves_no_file(tmp_path: Path, checkout: Path) -> None:
    path = tmp_path / "x.mcap"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"remote://127.0.0.1:{silent.getsockname()[1]}/cam"
        command = [sys.executable, "-m", "service.cli", "record", uri, "-o", str(path), "--no-consent", "nobody"]
        process = subprocess.Popen(command, cwd=checkout, stderr=subprocess.PIPE, text=True)
        silent.settimeout(PATIENCE_S)
        asked, _ = silent.accept()  # the camera is being opened: nobody answers
        with asked:
            assert path.exists()
            process.terminate()
            said = process.communicate(timeout=PATIENCE_S)[1]
    assert (process.returncode, path.exists()) == (130, False), said


def test_a_killed_mien_record_replays_to_its_last_chunk(media: Path, tmp_path: Path, checkout: Path) -> None:
    path, uri = tmp_path / "a.mcap", f"video:{media / 'single_face.mp4'}?realtime=1&loop=1"
    command = [
        sys.executable,
        "-m",
        "service.cli",
        "record",
        uri,
        "-o",
        str(path),
        "--no-consent",
        "a public clip",
        "--events",
    ]
    live: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=checkout) as process:
        assert process.stdout is not None
        while len(live) < 60:
            live.append(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        live += process.stdout
    result = mien("replay", path, "--check")
    assert result.exit_code == 0, result.stderr
    assert "was cut off" in result.stderr
    replayed = result.stdout.splitlines(keepends=True)
    assert live[: len(replayed)] == replayed
    assert len(replayed) >= 20
