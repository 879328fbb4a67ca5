"""Rig files: every rule with its line, the examples, and the commands about them."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import pytest
from typer.testing import CliRunner

from capture.driver import SourceError, names
from service.cli import app
from service.config import ConfigError
from service.rig_file import keys, load_rig, rig_path

COLOR = '[sources.cam]\nmodality = "color"\nuri = "virtual:color?width=64&height=48"\n'
DEPTH = '[sources.deep]\nmodality = "depth"\nuri = "virtual:depth"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "rig.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sources", "is not TOML"),
        ("", "sources: is missing: each source is a table [sources.NAME]"),
        (COLOR.replace("sources.cam", "cam"), "cam: there is no such key; there are: name, model"),
        ('[sources.cam]\nuri = "virtual:color"\n', "sources.cam.modality: is missing"),
        (COLOR + 'aligned = "yes"\n', "sources.cam.aligned: Input should be a valid boolean, not 'yes'"),
        ('tolerance_ms = "40"\n' + COLOR, "tolerance_ms: Input should be a valid number, not '40'"),
        (DEPTH, "sources: 0 are of modality color; there must be one"),
        (COLOR + COLOR.replace("cam", "two"), "sources: 2 are of modality color"),
        (COLOR + DEPTH + DEPTH.replace("deep", "two"), "another source is of modality depth too"),
        (COLOR + '[sources.deep]\nmodality = "depth"\n', "sources.deep: give `uri` or `of`, one of them"),
        (COLOR + '[sources.deep]\nmodality = "depth"\nof = "nobody"\n', "sources.deep.of: 'nobody' is no source with a uri"),
        (COLOR + '[sources.deep]\nmodality = "smell"\nof = "cam"\n', "sources.deep.modality: Input should be 'color'"),
        ("tolerance_ms = 0\n" + COLOR, "tolerance_ms: Input should be greater than 0, not 0"),
        ('trigger = "hardware"\n' + COLOR, "tolerance_ms: 40 with trigger hardware"),
        ("speed = 3\n" + COLOR, "speed: there is no such key; there are: name, model, tolerance_ms"),
        (COLOR + "fps = 3\n", "sources.cam.fps: there is no such key; there are: modality, uri"),
        (COLOR.replace("cam", "Cam"), "sources.Cam: a name is 1–64 lower-case letters"),
    ],
)
def test_a_rule_that_is_broken_is_named_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_rig(written(tmp_path, text))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_uri_is_never_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_rig(written(tmp_path, COLOR.replace('"virtual:color?width=64&height=48"', "[1, 'rtsp://me:secret@host']")))
    assert "secret" not in str(refused.value)


def test_relative_paths_start_at_the_rig_file(tmp_path: Path) -> None:
    text = COLOR.replace("?width", "?clip=../a.mp4&faces=/abs/b.json&width")
    (uri,) = (source.uri for source in load_rig(written(tmp_path, text)).sources.values())
    assert uri == f"virtual:color?clip={tmp_path}/../a.mp4&faces=/abs/b.json&width=64&height=48"
    (uri,) = (
        s.uri for s in load_rig(written(tmp_path, COLOR.replace("virtual:color?width=64&height=48", "video:a.mp4?loop=1"))).sources.values()
    )
    assert uri == f"video:{tmp_path}/a.mp4?loop=1"


@pytest.mark.parametrize(
    ("uri", "option", "file"),
    [
        ("recording:a.mcap?source=x", None, "a.mcap"),
        ("recording:/abs/a.mcap", None, None),
        ("remote://there:1/cam?token_file=token&tls=1&ca=node.pem", "token_file", "token"),
        ("remote://there:1/cam?token_file=/abs/token&tls=1&ca=node.pem", "ca", "node.pem"),
        ("virtual:color?clip=a.mp4", "clip", "a.mp4"),
    ],
)
def test_paths_of_every_driver_start_at_the_rig_file_whatever_its_folder_is_called(
    tmp_path: Path, uri: str, option: str | None, file: str | None
) -> None:
    folder = tmp_path / "c++ & 100% of #1?"
    folder.mkdir()
    found = load_rig(written(folder, COLOR.replace("virtual:color?width=64&height=48", uri))).sources["cam"].uri
    assert found is not None
    address, _, query = found.partition("?")
    told = unquote(address).partition(":")[2] if option is None else dict(parse_qsl(query))[option]
    assert told == (str(folder / file) if file is not None else "/abs/a.mcap")


def test_what_is_no_rig_file_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^rig file \S+ does not exist; examples are in deploy/rigs$"):
        load_rig(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"^rig file \S+ is a folder; give the file in it$"):
        load_rig(tmp_path)


def test_a_source_whose_driver_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^source deep: no camera driver 'kinect'; there are: "):
        load_rig(written(tmp_path, COLOR + DEPTH.replace("virtual:depth", "kinect:0"))).devices()


def test_devices_come_color_first_and_share_a_device_where_the_file_says_so(tmp_path: Path) -> None:
    text = DEPTH + 'hold_ms = 300\n[sources.warm]\nmodality = "thermal"\nof = "cam"\n' + COLOR + "latency_ms = 12\n"
    rig = load_rig(written(tmp_path, text))
    first, second = rig.devices()
    assert {modality: source.name for modality, source in first.sources.items()} == {"color": "cam", "thermal": "warm"}
    assert first.sources["color"].latency_ns == 12_000_000
    assert second.sources["depth"].hold_ns == 300_000_000
    assert rig.gives == {"color"}


def test_the_examples_are_valid_and_name_only_drivers_that_are_there_or_said_to_be_missing(checkout: Path) -> None:
    files = sorted((checkout / "deploy" / "rigs").glob("*.toml"))
    assert [file.stem for file in files] == ["kinect-a65", "realsense-lepton", "virtual", "webcam"]
    for file in files:
        rig = load_rig(file)
        drivers = {source.uri.partition(":")[0] for source in rig.sources.values() if source.uri is not None}
        if drivers <= set(names()):
            assert rig.devices()
        else:
            assert "not in mien yet" in file.read_text() or "is in mien yet" in file.read_text()
            with pytest.raises(SourceError, match="no camera driver"):
                rig.devices()


def test_the_page_lists_every_key(checkout: Path) -> None:
    page = (checkout / "docs" / "rig.md").read_text()
    for key, default, meaning in keys():
        assert f"| `{key}` | {default} | {meaning} |\n" in page


def test_a_rig_is_a_camera_of_its_own_kind() -> None:
    assert rig_path("rig:desk.toml") == Path("desk.toml")
    assert rig_path("webcam:0") is None


def test_the_rig_command_says_what_a_file_is(tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "desk"\nmodel = "mran"\n' + COLOR + DEPTH + "aligned = true\n")
    said = CliRunner().invoke(app, ["rig", str(path)])
    assert (said.exit_code, said.stdout) == (0, f"{path}: rig 'desk': cam, deep; crops from color, depth, model mran\n")
    unmade = tmp_path / "unmade.toml"
    unmade.write_text(COLOR.replace('uri = "', 'uri = "nosuch'), encoding="utf-8")
    several = CliRunner().invoke(app, ["rig", str(tmp_path / "none.toml"), str(unmade), str(path)])
    # Every file is looked at, whatever is wrong with those before it.
    assert (several.exit_code, several.stdout) == (1, said.stdout)
    missing, unknown = several.stderr.splitlines()
    assert "does not exist; examples are in deploy/rigs" in missing
    assert "no camera driver 'nosuch" in unknown
    assert str(unmade) in unknown


def test_the_doctor_listens_to_a_rig(tmp_path: Path) -> None:
    thermal = '[sources.warm]\nmodality = "thermal"\nuri = "virtual:thermal?fps=20&offset_ms=400&faults=unplug@1+9"\n'
    path = written(tmp_path, COLOR + DEPTH + thermal)
    said = CliRunner().invoke(app, ["doctor", "--rig", str(path), "--seconds", "2", "--format", "json"])
    found = {one["name"]: one for one in json.loads(said.stdout)}
    assert list(found) == ["cam", "deep", "warm", "bundles"]
    assert "fps of 30" in found["cam"]["detail"]
    assert "skew" in found["deep"]["detail"]
    assert "drift" in found["deep"]["detail"]
    assert (found["warm"]["state"], said.exit_code) == ("fault", 1), "it was lost"
    assert "states: lost" in found["warm"]["detail"]


def test_the_faces_of_a_clip_are_written_for_the_virtual_rig(media: Path, checkout: Path, tmp_path: Path) -> None:
    made = tmp_path / "faces.json"
    assert CliRunner().invoke(app, ["faces", str(media / "single_face.mp4"), "-o", str(made)]).exit_code == 0
    said, kept = json.loads(made.read_text()), json.loads((checkout / "deploy" / "rigs" / "single_face.mp4.faces.json").read_text())
    assert (said["width"], said["height"], len(said["faces"])) == (640, 360, 72)
    for one, other in zip(said["faces"], kept["faces"], strict=True):
        assert one["box"] == pytest.approx(other["box"], abs=2.0), "deploy/rigs/single_face.mp4.faces.json is what `mien faces` makes"
