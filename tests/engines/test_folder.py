"""A model folder is opened only if every byte of it is as its manifest says; else one line names file, rule and remedy."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from engines.folder import FolderError, open_folder, read_manifest
from tests.engines.graphs import (
    expression_manifest,
    expressive,
    feature_manifest,
    model,
    read_json,
    scaled,
    tensor,
    write_folder,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in order."""
    return write_folder(tmp_path / "tiny", feature_manifest(), {"full.onnx": scaled()})


def refused(path: Path) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(FolderError) as caught:
        open_folder(path)
    said = str(caught.value)
    assert said.isprintable()
    assert said.startswith(str(path))
    return said


def test_a_folder_in_order_opens_with_its_bytes(folder: Path) -> None:
    opened = open_folder(folder)
    assert opened.manifest.id == "tiny"
    assert opened.sha256 == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert opened.graph_bytes("full") == (folder / "full.onnx").read_bytes()
    assert opened.read("card.md") == b"# A card\n"
    assert read_manifest(folder) == opened.manifest


def test_what_was_verified_is_what_is_read_whatever_happens_to_the_file(folder: Path) -> None:
    opened = open_folder(folder)
    before = (folder / "full.onnx").read_bytes()
    (folder / "full.onnx").write_bytes(b"something else")
    assert opened.graph_bytes("full") == before


def test_without_graphs_the_rest_is_kept(folder: Path) -> None:
    light = open_folder(folder).without_graphs()
    assert sorted(light.files) == ["LICENSE.txt", "card.md"]
    with pytest.raises(FolderError, match=r"no file 'full\.onnx'"):
        light.graph_bytes("full")
    with pytest.raises(FolderError, match="no graph 'frame'; there are: full"):
        light.graph_bytes("frame")


def _append(name: str) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes() + b"x")


def _link(name: str) -> Callable[[Path], object]:
    def replace(path: Path) -> None:
        (path / name).rename(path.parent / name)
        (path / name).symlink_to(path.parent / name)

    return replace


def _swap(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replace(path: Path) -> None:
        (path / name).unlink()
        make(path / name)

    return replace


SPOILT: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "graph changed": (_append("full.onnx"), "full.onnx", "was changed"),
    "card changed": (_append("card.md"), "card.md", "was changed"),
    "graph missing": (lambda p: (p / "full.onnx").unlink(), "full.onnx", "is missing"),
    "manifest missing": (lambda p: (p / "manifest.json").unlink(), "manifest.json", "is missing"),
    "file not listed": (lambda p: (p / "notes.txt").write_text("?"), "notes.txt", "not listed"),
    "hidden file": (lambda p: (p / ".cache").write_text("?"), ".cache", "not listed"),
    "folder not listed": (lambda p: (p / "sub").mkdir(), "sub", "not listed"),
    "graph is a link": (_link("full.onnx"), "full.onnx", "is a link"),
    "manifest is a link": (_link("manifest.json"), "manifest.json", "is a link"),
    "link into nowhere": (_swap("card.md", lambda f: f.symlink_to("nowhere")), "card.md", "is a link"),
    "graph is a folder": (_swap("full.onnx", Path.mkdir), "full.onnx", "not a plain file"),
    "graph is a pipe": (_swap("full.onnx", os.mkfifo), "full.onnx", "not a plain file"),
    "no JSON": (lambda p: (p / "manifest.json").write_text("{"), "manifest.json", "Invalid JSON"),
    "no UTF-8": (lambda p: (p / "manifest.json").write_bytes(b"\xff\xfe{}"), "manifest.json", "JSON"),
    "deep JSON": (lambda p: (p / "manifest.json").write_text("[" * 100_000), "manifest.json", "JSON"),
    "long manifest": (lambda p: (p / "manifest.json").write_text(" " * 2**21), "manifest.json", "at most 1048576"),
    "an odd file name": (lambda p: (p / "a\nb\x1b[31m\u202e").write_text("?"), r"a\nb\x1b[31m\u202e", "not listed"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_folder_is_refused_by_file_and_rule(folder: Path, case: str) -> None:
    spoil, file, rule = SPOILT[case]
    spoil(folder)
    said = refused(folder)
    assert said.startswith(f"{folder}{os.sep}{file}: ")
    assert rule in said
    assert "; " in said, "it says what to do"


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert "is missing" in refused(tmp_path / "nowhere")


def _set(**keys: Any) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest.update(keys)


def _list(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["files"].update({name: "0" * 64})


def _without_card(manifest: dict[str, Any]) -> None:
    del manifest["files"]["card.md"]


KEYS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown key": (_set(colour="red"), "colour: Extra inputs are not permitted"),
    "unknown key inside": (lambda m: m["weights"].update(trained=True), "weights.trained: Extra inputs"),
    "key with a line feed": (_set(**{"a\nb": 1}), r"a\nb: Extra inputs"),
    "missing key": (lambda m: m.pop("title"), "title: Field required"),
    "two faults": (lambda m: (m.pop("title"), m.pop("output")), "(and 1 more)"),
    "other kind": (_set(kind="oracle"), "'oracle'"),
    "other schema": (_set(schema="mien.model/9"), "schema: Input should be 'mien.model/1'"),
    "id that is a path": (_set(id="../tiny"), "id: String should match pattern"),
    "file in a folder": (_list("sub/a.bin"), "sub/a.bin"),
    "file above": (_list("../a.bin"), "../a.bin"),
    "file of another system's separator": (_list("sub\\a.bin"), "String should match pattern"),
    "absolute file": (_list("/etc/passwd"), "/etc/passwd"),
    "hash that is none": (lambda m: m["files"].update({"card.md": "abc"}), "files.card.md: String should match pattern"),
    "card not listed": (_without_card, "files lists no sha256 of card.md"),
}


@pytest.mark.parametrize("case", KEYS)
def test_a_manifest_that_breaks_the_schema_is_refused_by_key(folder: Path, case: str) -> None:
    change, rule = KEYS[case]
    manifest = read_json(folder)
    change(manifest)
    write_manifest(folder, manifest)
    said = refused(folder)
    assert said.startswith(f"{folder / 'manifest.json'}: ")
    assert rule in said
    assert "correct it" in said
    with pytest.raises(FolderError):
        read_manifest(folder)


def test_a_listed_file_must_be_there(folder: Path) -> None:
    manifest = read_json(folder)
    _list("itq.npz")(manifest)
    write_manifest(folder, manifest)
    assert f"{folder / 'itq.npz'}: is missing" in refused(folder)


def _graph(**keys: Any) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(feature_manifest()))
    changed["graphs"]["full"] |= keys
    return changed


def _column(name: str, dtype: str = "float32", *shape: int) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": dtype, "shape": list(shape)}]


def _with_node(domain: str, name: str) -> Any:
    proto = scaled()
    proto.graph.node.append(helper.make_node(name, ["x"], ["z"], domain=domain))
    return proto


def _elsewhere(location: str) -> Any:
    proto = scaled()
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    proto.graph.initializer[0].ClearField("raw_data")
    proto.graph.initializer[0].external_data.add(key="location", value=location)
    return proto


OTHER = {
    "input's name": (_graph(inputs=_column("z", "float32", 3)), scaled(), "has inputs x, manifest.json says z"),
    "output's name": (_graph(outputs=_column("z", "float32", 3)), scaled(), "has outputs y, manifest.json says z"),
    "input more": (_graph(inputs=_column("x", "float32", 3) + _column("z")), scaled(), "has inputs x, manifest.json says x, z"),
    "input twice": (_graph(inputs=_column("x", "float32", 3) * 2), scaled(), "says x, x"),
    "dtype": (_graph(inputs=_column("x", "uint8", 3)), scaled(), "input x is float32 (?, 3), manifest.json says uint8 (batch, 3)"),
    "output's dtype": (_graph(outputs=_column("y", "int64", 3)), scaled(), "output y is float32"),
    "size": (_graph(inputs=_column("x", "float32", 4)), scaled(), "says float32 (batch, 4)"),
    "rank": (_graph(inputs=_column("x", "float32", 3, 1)), scaled(), "says float32 (batch, 3, 1)"),
    "batch fixed": (feature_manifest(), scaled(batch=1), "(1, 3), manifest.json says float32 (batch, 3) with a dynamic batch"),
    "opset": (feature_manifest(), scaled(opset=17), "has opset 17, manifest.json says 20"),
    "no ONNX": (feature_manifest(), b"not a network", "is no ONNX model"),
    "empty": (feature_manifest(), b"", "is no ONNX model"),
    "a compiled engine": (feature_manifest(), _with_node("com.microsoft", "EPContext"), "compiled code"),
    "external data": (feature_manifest(), _elsewhere("weights.bin"), "keeps the data of w in another file"),
    "external data above": (feature_manifest(), _elsewhere("../../etc/passwd"), "external data is not allowed"),
    "external data in memory": (feature_manifest(), _elsewhere("*/_ORT_MEM_ADDR_/*"), "external data is not allowed"),
}


@pytest.mark.parametrize("case", OTHER)
def test_a_graph_that_is_not_as_the_manifest_says_is_refused(tmp_path: Path, case: str) -> None:
    manifest, graph, rule = OTHER[case]
    said = refused(write_folder(tmp_path / "tiny", manifest, {"full.onnx": graph}))
    assert said.startswith(f"{tmp_path / 'tiny' / 'full.onnx'}: ")
    assert rule in said
    assert "export" in said


def test_external_data_is_refused_even_if_its_file_is_listed(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "tiny", feature_manifest(), {"full.onnx": _elsewhere("weights.bin")}, weights__bin=b"\0" * 12)
    assert "external data is not allowed" in refused(path)


def test_what_the_graph_leaves_open_the_manifest_may_fix(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "open",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "wide"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", None])],
        [tensor()],
    )
    open_folder(write_folder(tmp_path / "tiny", feature_manifest(), {"full.onnx": model(graph)}))


def test_every_shipped_folder_is_in_order(checkout: Path) -> None:
    paths = sorted(path for path in (checkout / "engines" / "models").iterdir() if path.is_dir())
    assert paths
    assert [open_folder(path).manifest.id for path in paths] == [path.name for path in paths]


def test_an_expression_model_opens(tmp_path: Path) -> None:
    assert open_folder(write_folder(tmp_path / "moods", expression_manifest(), {"frame.onnx": expressive()})).manifest.kind == "expression"
