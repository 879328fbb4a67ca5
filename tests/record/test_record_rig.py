"""`mien record --rig`: what a rig gave and what its session took, replayed to the same bytes; matched anew, twice the same."""

from __future__ import annotations

import json
from pathlib import Path

from capture.frame import Frame, SourceState
from capture.playback import open_recording
from service.replay import recipe_of
from tests.record.test_record_replay import mien
from tests.served.test_served_rig import rig

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


def test_a_rig_is_remembered_with_its_model(tmp_path: Path, media: Path, checkout: Path) -> None:
    file = rig(tmp_path, media, checkout)
    path, flags = tmp_path / "rig.mcap", ("--models", tmp_path / "models")
    done = mien("record", f"rig:{file}", "-o", path, "--no-consent", "a public clip", "--duration", 1, *flags)
    assert done.exit_code == 0, done.stderr
    recipe = recipe_of(open_recording(path))
    assert recipe.rig is not None
    assert (recipe.model, recipe.rig.model, recipe.rig.gives) == ("three", "three", {"color", "depth", "thermal"})
