"""`mien-export precision` as its user runs it, on a shipped model: figures, refusals, and a folder that the service takes."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engines.engine import EngineOptions
from engines.folder import open_folder
from engines.manifest import Expression, Manifest
from engines.open import open_engine
from exporters import model_folder, precision, ranges
from exporters.agreement import ENOUGH_S, TURNS, WARM_UPS, compare, speed
from exporters.onnx_graph import parsed
from exporters.precision import PrecisionRefused
from exporters.probes import drawn_clips
from exporters.shipped import shipped_folders
from service.cli import app
from tests.exporters.command_line import Export, export

__all__ = ["export"]
FER = shipped_folders() / "fer-small"


def samples(path: Path, tracks: int = 4, length: int = 28) -> Path:
    """A file as `mien windows --inputs -m fer-small` writes it, of drawn faces."""
    faces = drawn_clips(tracks, length, 64, 64).transpose(0, 1, 4, 2, 3)
    np.savez(
        path, inputs=np.ascontiguousarray(faces).reshape(-1, 3, 64, 64), clip=np.zeros(tracks * length, np.int32),
        track=np.repeat(np.arange(tracks), length), model=np.array("fer-small"),
    )  # fmt: skip
    return path


def test_fp16_is_made_measured_and_verified(tmp_path: Path, export: Export) -> None:
    given = samples(tmp_path / "W.npz")
    # Whether this processor is as quick with it changes with what else runs here; by this clock both take the same time.
    made = precision.write(tmp_path / "half", FER, precision.Wish("fp16", samples=given, uniform=True), clock=itertools.count().__next__)
    found = made.reduced
    assert found is not None
    assert (made.precision, found.of, found.kept, found.windows) == ("fp16", open_folder(FER).sha256, (), 52)
    assert found.agreement >= 0.99
    assert 0 < found.max_abs_error["probabilities"] < 0.02
    assert found.size < 0.55 * found.fp32_size
    assert found.runtime is not None
    assert found.runtime.startswith("onnx:CPUExecutionProvider")
    assert found.samples == model_folder.sha256(given.read_bytes())
    assert found.speed == 1
    _, said, _ = export("verify", tmp_path / "half", "--fp32", FER, "--samples", given)
    assert "parity, recorded: agreement 100.0% of 52 windows of samples" in said
    for name in ("files", "graphs", "batch", "cost", "parity, recorded"):
        assert f"ok            {name}: " in said
    assert "agreement 100.0% of 52 windows of samples" in said.partition("parity, measured: ")[2]
    _, drawn, _ = export("verify", tmp_path / "half", "--fp32", FER)
    assert "36 windows of drawn clips" in drawn.partition("parity, measured: ")[2]
    engine = open_engine(open_folder(tmp_path / "half"), "frame", EngineOptions(threads=1))
    assert engine.run({"face": np.zeros((2, 3, 64, 64), np.uint8)})["probabilities"].dtype == np.float32


@pytest.fixture
def made(tmp_path: Path) -> Manifest:
    """fer-small's manifest, as if in int8 and good."""
    fields = model_folder.fields_of(open_folder(FER).manifest)
    figures = {
        "of": "0" * 64, "windows": 100, "agreement": 0.98, "max_abs_error": {"probabilities": 0.05}, "size": 1, "fp32_size": 4,
        "target": "onnx", "runtime": "onnx 1", "speed": 1.5,
    }  # fmt: skip
    return model_folder.manifest({**fields, "precision": "int8", "reduced": figures}, open_folder(FER).files)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"agreement": 0.96}, r"96.0% of 100 results agree with fp32, at least 97% must"),
        ({"speed": 0.8}, r"1.250 × fp32's time on onnx 1"),
        ({"speed": None, "runtime": None}, None),
    ],
    ids=["good", "wrong labels", "slower", "not measured"],
)
def test_what_is_out_of_tolerance_or_slower_is_refused_with_its_figures(
    made: Manifest, changed: dict[str, object], said: str | None
) -> None:
    assert made.reduced is not None
    spoilt = made.model_copy(update={"reduced": made.reduced.model_copy(update=changed)})
    if said is None:
        precision.require(spoilt)
        return
    with pytest.raises(PrecisionRefused, match=said) as refused:
        precision.require(spoilt)
    assert "largest error probabilities 0.05" in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--precision", "int4"), "no precision 'int4'; there are: fp16, int8"),
        (("--precision", "fp16"), "with --uniform-keyframes"),
        (("--precision", "int8", "--uniform-keyframes"), "mien windows CLIPS --inputs"),
        (("--precision", "fp16", "--target", "abacus"), "no engine backend 'abacus'"),
        (("--precision", "fp16", "--uniform-keyframes", "--target", "triton"), "a server runs what it was given"),
        (("--precision", "fp16", "--uniform-keyframes", "--samples", "few.npz"), "has 4 windows; at least 32"),
        (("--precision", "fp16", "--uniform-keyframes", "--samples", "short.npz"), "no track has 16 samples on end"),
    ],
    ids=["unknown", "keyframes", "no samples", "no target", "a server", "few", "short"],
)
def test_refusals(tmp_path: Path, export: Export, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str) -> None:
    samples(tmp_path / "few.npz", 1, 19)
    samples(tmp_path / "short.npz", 3, 9)
    monkeypatch.chdir(tmp_path)
    code, _, error = export("precision", FER, "--out", tmp_path / "out", *arguments)
    assert code
    assert said in error
    assert not (tmp_path / "out").exists()


def test_int8_is_verified_on_samples_alone(tmp_path: Path, media: Path, export: Export) -> None:
    given = tmp_path / "W.npz"
    arguments = ("windows", media / "single_face.mp4", "-m", "fer-small", "--inputs", "-o", given)
    assert CliRunner().invoke(app, [str(argument) for argument in arguments]).exit_code == 0
    wish = precision.Wish("int8", target="tensorrt", samples=given, uniform=True)
    made = precision.write(tmp_path / "eight", FER, wish)
    assert made.reduced is not None
    _, said, _ = export("verify", tmp_path / "eight", "--fp32", FER)
    assert "not measured  parity, measured: needs the windows that it is calibrated for, --samples W.npz" in said
    code, said, _ = export("verify", tmp_path / "eight", "--fp32", FER, "--samples", given)
    now = said.partition("parity, measured: ")[2]
    assert code == 0
    assert f"agreement {made.reduced.agreement:.1%} of {made.reduced.windows} windows of samples" in now
    # On a machine with that runtime there is a figure here.
    assert "; speed " in now


def test_a_wish_that_nothing_fulfils_is_refused_before_the_export(tmp_path: Path, export: Export) -> None:
    arguments = ("onnx", "facial-3dcnn-convlstm", "--random-weights", 0, "--out", tmp_path / "out", "--precision")
    code, said, error = export(*arguments, "int8")
    assert (code, said) == (1, "")
    assert "mien windows CLIPS --inputs" in error
    code, said, error = export(*arguments, "fp16", "--target", "abacus")
    assert (code, said) == (1, "")
    assert "no engine backend 'abacus'" in error


def test_a_calibration_that_was_fitted_on_fp32_is_said(tmp_path: Path, export: Export) -> None:
    fields = model_folder.fields_of(open_folder(FER).manifest)
    calibration = {"temperature": 1.5, "source": "a test", "ece": 0.1, "runtime": True}
    model_folder.write(tmp_path / "own", {**fields, "calibration": calibration}, dict(open_folder(FER).files))
    arguments = ("--precision", "fp16", "--uniform-keyframes", "--target", "tensorrt", "--out", tmp_path / "half")
    code, said, _ = export("precision", tmp_path / "own", *arguments)
    assert code == 0
    assert "its calibration and label sets are the fp32 model's" in said


def test_feature_models_and_face_finders_have_no_other_precision(tmp_path: Path) -> None:
    with pytest.raises(PrecisionRefused, match="of kind detector; only expression models"):
        precision.write(tmp_path / "out", shipped_folders() / "blazeface-front", precision.Wish("fp16"))
    fields = model_folder.fields_of(open_folder(FER).manifest)
    kept = {name: fields[name] for name in ("title", "card", "graphs", "opset", "weights", "licence", "cost", "crops")}
    features = {**kept, "id": "eyes", "kind": "features", "output": "features"}
    graphs = {"full": {**kept["graphs"]["frame"]}}  # type: ignore[index]
    files = {name: data for name, data in open_folder(FER).files.items() if name != "itq.npz"}
    model_folder.write(tmp_path / "eyes", {**features, "graphs": graphs}, files)
    with pytest.raises(PrecisionRefused, match="gives features, which choose keyframes: such graphs stay fp32"):
        precision.write(tmp_path / "out", tmp_path / "eyes", precision.Wish("fp16"))


def test_a_manifest_says_figures_where_and_only_where_it_is_not_fp32(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(FER, copy)
    fields = model_folder.fields_of(open_folder(FER).manifest)
    with pytest.raises(ValueError, match="'reduced' must be there for what is not fp32"):
        model_folder.manifest({**fields, "precision": "fp16"}, open_folder(FER).files)


def test_agreement_by_hand() -> None:
    manifest = open_folder(FER).manifest
    assert isinstance(manifest, Expression)
    wanted = {"probabilities": np.array([[0.6, 0.4], [0.4, 0.6], [0.5, 0.4], [0.9, 0.1]])}
    got = {"probabilities": np.array([[0.5, 0.4], [0.6, 0.5], [0.5, 0.45], [np.nan, 0.1]])}
    found = compare(got, wanted, manifest)
    assert (found.windows, found.share) == (4, 0.5)
    assert found.errors["probabilities"] == np.inf
    moods = manifest.model_copy(update={"outputs": {"valence": "v", "arousal": "a"}})
    said = {"v": np.array([[0.0], [0.0], [0.0]]), "a": np.array([[0.5], [0.5], [0.5]])}
    off = {"v": np.array([[0.049], [0.06], [0.0]]), "a": np.array([[0.5], [0.5], [0.4]])}
    assert compare(off, said, moods).share == pytest.approx(1 / 3)


def test_speed_is_of_a_result_in_turn() -> None:
    manifest = open_folder(FER).manifest
    assert isinstance(manifest, Expression)
    now, rows = [0.0], {"face": np.zeros((1, 16, 3, 64, 64), np.uint8)}

    def taking(seconds: float) -> dict[str, object]:
        def run(inputs: object) -> dict[str, np.ndarray]:
            now[0] += seconds
            return {}

        return {"frame": run}

    assert speed(taking(2.0), taking(3.0), manifest, rows, lambda: now[0]) == pytest.approx(1.5)  # type: ignore[arg-type]
    # Each turn is hop samples of either: nine turns where they are slow, as many as two seconds hold where they are quick.
    assert now[0] == pytest.approx(manifest.window.hop * 5.0 * (WARM_UPS + TURNS))
    now[0] = 0.0
    assert speed(taking(0.002), taking(0.003), manifest, rows, lambda: now[0]) == pytest.approx(1.5)  # type: ignore[arg-type]
    assert now[0] == pytest.approx(ENOUGH_S, rel=0.1)


def test_ranges_are_over_all_rows() -> None:
    model = parsed(open_folder(FER).graph_bytes("frame"))
    faces = drawn_clips(1, 17, 64, 64)[0].transpose(0, 3, 1, 2)
    engine = open_engine(open_folder(FER), "frame", EngineOptions(threads=1))
    found = ranges.measured(model, {"face": np.ascontiguousarray(faces)})
    features = engine.run({"face": np.ascontiguousarray(faces)})["features"]
    assert found["features"] == pytest.approx((features.min(), features.max()), abs=1e-5)
