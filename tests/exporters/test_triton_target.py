"""`mien-export triton`: the repository a server finds, read by the server's own schema; its config.pbtxt says what the graph is."""

from __future__ import annotations

import compileall
import hashlib
from pathlib import Path
from typing import Any

import pytest

from engines.folder import Folder, FolderError, open_folder
from engines.manifest import Graph
from exporters.targets.triton import config, write_repository
from tests.engines.contract import MODELS, graphs, write_models
from tests.engines.graphs import averaging, expression_manifest, expressive, write_folder
from tests.exporters.command_line import Export, export

__all__ = ["export"]
TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "int64": "TYPE_INT64"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Folder]:
    return write_models(tmp_path_factory.mktemp("models"))


def parsed(text: str) -> Any:
    """The text as tritonserver reads it."""
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="the extra triton is not installed")
    from google.protobuf import text_format

    return text_format.Parse(text, schema.ModelConfig())


@pytest.mark.parametrize("runtime", ["onnxruntime", "python"])
@pytest.mark.parametrize("id", MODELS)
def test_the_repository_says_what_the_folder_says(folders: dict[str, Folder], tmp_path: Path, id: str, runtime: Any) -> None:
    folder = folders[id]
    places = write_repository(folder, tmp_path, runtime)
    assert [place.name for place in places] == [f"{id}-{part}" for part, _ in graphs(folder)]
    for place, (part, graph) in zip(places, graphs(folder), strict=True):
        found = parsed((place / "config.pbtxt").read_text(encoding="utf-8"))
        assert (found.name, found.backend, found.max_batch_size) == (place.name, runtime, folder.manifest.batch.max)
        assert found.HasField("dynamic_batching")
        for given, tensors in ((found.input, graph.inputs), (found.output, graph.outputs)):
            assert [entry.name for entry in given] == [tensor.name for tensor in tensors]
            for entry, tensor in zip(given, tensors, strict=True):
                kind = type(entry).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[entry.data_type].name
                assert kind == TYPES[tensor.dtype]
                assert tuple(entry.dims) == (tensor.shape or (1,))
                assert entry.HasField("reshape") == (tensor.shape == ())
                assert tuple(entry.reshape.shape) == ()
        graph_file = place / "1" / "model.onnx"
        assert graph_file.read_bytes() == folder.graph_bytes(part)
        assert found.parameters["mien_graph_sha256"].string_value == hashlib.sha256(graph_file.read_bytes()).hexdigest()
        assert sorted(path.name for path in (place / "1").iterdir()) == ["model.onnx", *(["model.py"] if runtime == "python" else [])]


def test_a_tensors_name_may_be_any_text(folders: dict[str, Folder]) -> None:
    (graph,) = (graph for _, graph in graphs(folders["tiny"]))
    odd = 'a "b" \\ {ü}\nc:0'
    renamed = Graph(file="full.onnx", inputs=(graph.inputs[0].model_copy(update={"name": odd}),), outputs=graph.outputs)
    assert parsed(config("tiny-full", renamed, 4, "0" * 64, "onnxruntime")).input[0].name == odd


def test_a_model_of_two_graphs_is_two_server_models(tmp_path: Path) -> None:
    manifest = expression_manifest()
    column = {"name": "probabilities", "dtype": "float32", "shape": [4, 3]}
    window = {"file": "window.onnx", "inputs": [column], "outputs": [{"name": "mean", "dtype": "float32", "shape": [3]}]}
    manifest |= {"graphs": {**manifest["graphs"], "window": window}, "outputs": {"probabilities": "mean"}}
    del manifest["aggregate"]
    folder = open_folder(write_folder(tmp_path / "moods", manifest, {"frame.onnx": expressive(), "window.onnx": averaging(4, 3)}))
    assert [place.name for place in write_repository(folder, tmp_path / "repository")] == ["moods-frame", "moods-window"]


def test_the_servers_script_compiles(folders: dict[str, Folder], tmp_path: Path) -> None:
    (place,) = write_repository(folders["tiny"], tmp_path, "python")
    assert compileall.compile_file(place / "1" / "model.py", quiet=1)


def test_what_is_there_already_is_left_alone(folders: dict[str, Folder], tmp_path: Path) -> None:
    write_repository(folders["tiny"], tmp_path)
    (tmp_path / "tiny-full" / "config.pbtxt").write_text("mine", encoding="utf-8")
    with pytest.raises(FolderError, match=r"tiny-full: is there already; remove it, or write to another repository"):
        write_repository(folders["tiny"], tmp_path)
    assert (tmp_path / "tiny-full" / "config.pbtxt").read_text(encoding="utf-8") == "mine"


def test_the_command_writes_several_and_says_how_to_go_on(export: Export, checkout: Path, tmp_path: Path) -> None:
    shipped = checkout / "engines" / "models"
    code, out, err = export("triton", shipped / "fer-small", shipped / "blazeface-front", "--out", tmp_path / "repository")
    assert (code, err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "repository").iterdir()) == ["blazeface-front-full", "fer-small-frame"]
    assert "tritonserver --model-repository" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "said"), [(("nowhere",), "nowhere"), ((), "DIR"), (("--runtime", "tensorflow"), "no runtime 'tensorflow'")]
)
def test_what_cannot_be_written_is_refused(export: Export, checkout: Path, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    more = (checkout / "engines" / "models" / "fer-small",) if "--runtime" in arguments else ()
    code, out, err = export("triton", *arguments, *more, "--out", tmp_path / "repository")
    assert code != 0
    assert said in " ".join((out + err).split())
    assert not (tmp_path / "repository").exists()
