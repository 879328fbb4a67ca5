"""`mien record --rig`: what a rig gave and what its session took, replayed to the same bytes; matched anew, twice the same."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture.frame import Frame, SourceState
from capture.playback import open_recording
from capture.recorded import dumped
from capture.tape import Note, Tape
from service.input_log import INPUT_SCHEMA, INPUTS, entry
from service.replay import Replay, recipe_of
from tests.record.test_record_replay import CONSENT, EPOCH, RECIPE, mien
from tests.served.test_served_rig import rig
from tests.session.world import bundle, face, model, pipeline

RECORD_S = 6.0


def test_a_rig_is_recorded_replayed_and_matched_anew(tmp_path: Path, media: Path, checkout: Path) -> None:
    file = rig(tmp_path, media, checkout, unplug=2.0)
    path, flags = tmp_path / "rig.mcap", ("--models", tmp_path / "models")
    done = mien("record", "--rig", file, "-o", path, "--no-consent", "a public clip", "--duration", RECORD_S, "--events", *flags)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any('"modalities":["color","depth","thermal"]' in said for said in lines)
    entries = list(open_recording(path).entries())
    assert {entry.source for entry in entries if isinstance(entry, Frame)} == {"color", "depth", "thermal"}
    assert ("thermal", "lost") in {(entry.source, entry.state) for entry in entries if isinstance(entry, SourceState)}
    deep = next(entry for entry in entries if isinstance(entry, Frame) and entry.source == "depth")
    assert (deep.unit, deep.scale, deep.exposure_ns) == ("m", 0.001, 8_000_000)
    replayed = mien("replay", path, "--check", *flags)
    assert replayed.exit_code == 0, replayed.stderr
    assert replayed.stdout.splitlines() == lines
    first, second = (mien("replay", path, "--resync", *flags) for _ in range(2))
    assert first.exit_code == 0, first.stderr
    assert first.stdout == second.stdout
    frames = [json.loads(said)["frame"] for said in first.stdout.splitlines() if '"type":"result"' in said]
    colors = sum(isinstance(entry, Frame) and entry.source == "color" for entry in entries)
    assert frames == list(range(1, colors + 1)), "all of them, those that were superseded too"


@pytest.mark.parametrize("taken", [False, True])
def test_frames_are_not_kept_while_replaying(tmp_path: Path, taken: bool) -> None:
    """Beside 60 of colour, 60 depth frames of 1.2 MB that no bundle had, or each one: they must not pile up unpacked."""
    path, live, depth = tmp_path / "a.mcap", pipeline(model(4, 8, 2)), np.zeros((640, 960), np.uint16)
    with Tape(path, EPOCH, CONSENT, {"session": RECIPE}) as tape:
        for number in range(1, 61):
            made = bundle(number, [face(1, x=300.0)])
            tape.frame(made.frames["cam"])
            deep = Frame("deep", "depth", number, None, number, depth.copy())
            tape.frame(deep)
            made = replace(made, frames={**made.frames, "deep": deep}) if taken else made
            live.push(made)
            tape.note(Note(INPUTS, INPUT_SCHEMA, dumped(entry(made)), EPOCH.monotonic_ns))
    replay = Replay(open_recording(path), pipeline(model(4, 8, 2)), lambda id: None)
    tracemalloc.start()
    try:
        assert len(list(replay.events())) == 60
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 40e6, "a chunk and what is unpacked of it, not the recording"


def test_what_is_secret_in_a_rig_is_not_recorded(tmp_path: Path) -> None:
    from service.rig_file import RigFile, told_rig

    secret = RigFile.model_validate({"sources": {"door": {"modality": "color", "uri": "rtsp://me:hush@camera:554/way?key=hush"}}})
    told = told_rig(secret)
    assert "hush" not in json.dumps(told)
    assert RigFile.model_validate(told).sources["door"].uri == "rtsp://camera:554/…"


def test_a_camera_or_a_rig_is_recorded_not_both_or_none(tmp_path: Path) -> None:
    for given in ((), ("webcam:0", "--rig", tmp_path / "rig.toml")):
        said = mien("record", *given, "-o", tmp_path / "x.mcap", "--no-consent", "nobody")
        assert (said.exit_code, "give a CAMERA, such as webcam:0, or --rig FILE" in said.stderr) == (2, True)


def test_a_rig_whose_colour_is_a_clip_is_recorded_to_its_end(tmp_path: Path, media: Path) -> None:
    file, path = tmp_path / "clip.toml", tmp_path / "clip.mcap"
    file.write_text(
        f'name = "desk"\n[sources.color]\nmodality = "color"\nuri = "video:{media / "single_face.mp4"}?realtime=1"\n'
        '[sources.depth]\nmodality = "depth"\nuri = "virtual:depth?fps=15"\n'
    )
    done = mien("record", "--rig", file, "-o", path, "--no-consent", "a public clip", "--duration", 30)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.startswith("recording desk to ")
    frames = [entry.arrival_t_ns for entry in open_recording(path).entries() if isinstance(entry, Frame)]
    assert 1e9 < max(frames) - min(frames) < 8e9, "it ended by itself"
    assert mien("replay", path, "--check").exit_code == 0


def test_a_camera_that_is_none_of_colour_is_refused_in_one_line(tmp_path: Path) -> None:
    said = mien("record", "virtual:depth", "-o", tmp_path / "x.mcap", "--no-consent", "nobody")
    assert (said.exit_code, said.stderr.count("\n")) == (1, 1)
    assert "not-color: camera 'camera' gives depth pictures" in said.stderr
    assert not (tmp_path / "x.mcap").exists()


def test_a_rig_is_remembered_with_its_model(tmp_path: Path, media: Path, checkout: Path) -> None:
    file = rig(tmp_path, media, checkout)
    path, flags = tmp_path / "rig.mcap", ("--models", tmp_path / "models")
    done = mien("record", f"rig:{file}", "-o", path, "--no-consent", "a public clip", "--duration", 1, *flags)
    assert done.exit_code == 0, done.stderr
    recipe = recipe_of(open_recording(path))
    assert recipe.rig is not None
    assert (recipe.model, recipe.rig.model, recipe.rig.gives) == ("three", "three", {"color", "depth", "thermal"})
