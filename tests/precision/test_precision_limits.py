"""Limits of a reduced model to the last per cent, and that a runtime's own disagreement counts: on a runtime that a test brings along."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from onnx import helper

from engines import backends
from engines.engine import Arrays
from engines.folder import open_folder
from engines.manifest import Expression, Manifest
from engines.results import Run
from engines.terms import Part
from exporters import model_folder, precision
from exporters.agreement import speed
from exporters.onnx_graph import parsed
from exporters.precision import PrecisionRefused, Wish
from exporters.probes import drawn_clips
from exporters.shipped import shipped_folders

FER = shipped_folders() / "fer-small"


def manifest(kind: str, **changed: object) -> Manifest:
    """fer-small's manifest, as if reduced, with these figures."""
    figures = {
        "of": "0" * 64, "windows": 100, "agreement": 1.0, "max_abs_error": {"probabilities": 0.05}, "size": 1, "fp32_size": 4,
        "target": "onnx", "runtime": "onnx 1", "speed": 1.5,
    }  # fmt: skip
    folder = open_folder(FER)
    return model_folder.manifest(
        {**model_folder.fields_of(folder.manifest), "precision": kind, "reduced": {**figures, **changed}}, folder.files
    )


@pytest.mark.parametrize(
    ("kind", "agreement", "said"),
    [
        ("fp16", 0.99, None), ("fp16", 0.9899, "at least 99% must"), ("fp16", 0.98, "98.0% of 100 results agree with fp32"),
        ("fp16", 0.5, "at least 99% must"), ("int8", 0.97, None), ("int8", 0.9699, "at least 97% must"), ("int8", 0.5, "at least 97% must"),
    ],
)  # fmt: skip
def test_how_many_labels_must_agree(kind: str, agreement: float, said: str | None) -> None:
    if said is None:
        precision.require(manifest(kind, agreement=agreement))
        return
    with pytest.raises(PrecisionRefused, match=f"fer-small in {kind} is refused: .*{said}"):
        precision.require(manifest(kind, agreement=agreement))


@pytest.mark.parametrize(("speed", "refused"), [(0.95, False), (0.9499, True), (0.5, True), (1.0, False), (None, False)])
def test_how_slow_it_may_be(speed: float | None, refused: bool) -> None:
    """Measured twice the same graph differs by a few per cent."""
    if not refused:
        precision.require(manifest("fp16", speed=speed))
        return
    assert speed is not None
    with pytest.raises(PrecisionRefused, match=rf"a result takes {1 / speed:.3f} × fp32's time on onnx 1"):
        precision.require(manifest("fp16", speed=speed))


def test_both_faults_are_said() -> None:
    with pytest.raises(PrecisionRefused, match=r"90\.0% of 100 results .*; a result takes 2\.000 ×"):
        precision.require(manifest("int8", agreement=0.9, speed=0.5))


def test_it_is_held_against_the_folder_it_was_made_from_alone() -> None:
    """Its figures name the sha256 of another manifest."""
    reduced = replace(open_folder(FER), manifest=manifest("fp16"))
    with pytest.raises(PrecisionRefused, match="was made from a manifest of sha256 000000000000…"):
        precision.again(reduced, FER, None)


def test_one_slow_turn_does_not_count() -> None:
    """A result takes 1 s reduced and 3 s in full, but for one turn in which this machine was busy."""
    of, now, turns = open_folder(FER).manifest, [0.0], itertools.count()
    assert isinstance(of, Expression)

    def taking(seconds: float, busy: bool) -> dict[Part, Run]:
        def run(inputs: Arrays) -> Arrays:
            now[0] += 1000.0 if busy and next(turns) == 4 * of.window.hop else seconds / of.window.hop
            return {}

        return {"frame": run}

    rows = {"face": np.zeros((1, 16, 3, 64, 64), np.uint8)}
    assert speed(taking(1.0, False), taking(3.0, True), of, rows, lambda: now[0]) == pytest.approx(3.0)


RUNTIME = """
    from pathlib import Path
    import numpy as np
    from engines.backends import onnx

    class Spoilt:
        def __init__(self, engine):
            self.info = engine.info
            self._engine = engine

        def run(self, inputs):
            found = dict(self._engine.run(inputs))
            shares = found["probabilities"]
            return found | {{"probabilities": {spoilt}}}

        def close(self):
            self._engine.close()

    def open_graph(data, name, graph, options):
        return Spoilt(onnx.open_graph({graph}, name, graph, options))
"""
"""ONNX Runtime, with its probabilities spoilt, or with another graph than it was handed."""


class Runtimes:
    """A folder of backends that engines look into as well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, spoilt: str = "shares", graph: str = "data") -> str:
        """Write a runtime; return its name."""
        name = f"runtime_{uuid.uuid4().hex}"
        (self._folder / f"{name}.py").write_text(dedent(RUNTIME).format(spoilt=spoilt, graph=graph))
        return name


@pytest.fixture
def runtimes(tmp_path: Path) -> Iterator[Runtimes]:
    folder = tmp_path / "runtimes"
    folder.mkdir()
    backends.__path__.append(str(folder))
    yield Runtimes(folder)
    backends.__path__.remove(str(folder))


def even() -> float:
    """Tell the time by a clock on which every run takes as long: each call is a second later."""
    return float(next(_ticks))


_ticks = itertools.count()


def test_a_runtime_that_says_another_label_is_counted(tmp_path: Path, runtimes: Runtimes) -> None:
    """The half graph is good, and so is its rounding; the runtime that it is for gives each class's share to the next."""
    wrong = runtimes.add("np.roll(shares, 1, axis=1)")
    with pytest.raises(PrecisionRefused, match=r"0\.0% of 36 results agree with fp32, at least 99% must"):
        precision.write(tmp_path / "out", FER, Wish("fp16", target=wrong, uniform=True), clock=even)
    assert not (tmp_path / "out").exists()


def test_a_runtime_that_is_off_without_another_label_is_in_the_figures(tmp_path: Path, runtimes: Runtimes) -> None:
    """A tenth less of everything leaves the labels; of a share of nearly one it is nearly a tenth."""
    off = runtimes.add("shares * 0.9")
    made = precision.write(tmp_path / "out", FER, Wish("fp16", target=off, uniform=True), clock=even)
    assert made.reduced is not None
    assert (made.reduced.agreement, made.reduced.windows, made.reduced.target) == (1.0, 36, off)
    assert 0.05 < made.reduced.max_abs_error["probabilities"] < 0.11
    assert made.reduced.speed == 1.0


def test_a_graph_that_is_wrong_is_found_though_its_runtime_is_right(tmp_path: Path, runtimes: Runtimes) -> None:
    """Turned before the softmax, it names the least likely class; its runtime takes the float32 graph instead."""
    right = runtimes.add(graph=f"Path({str(FER / 'frame.onnx')!r}).read_bytes()")
    precision.write(tmp_path / "half", FER, Wish("fp16", target=right, uniform=True), clock=even)
    folder = open_folder(tmp_path / "half")
    good = precision.again(folder, FER, None).reduced
    assert good is not None
    assert good.agreement == 1.0
    model = parsed(folder.graph_bytes("frame"))
    place, softmax = next((place, node) for place, node in enumerate(model.graph.node) if node.op_type == "Softmax")
    model.graph.node.insert(place, helper.make_node("Neg", [softmax.input[0]], ["turned"]))
    next(node for node in model.graph.node if node.op_type == "Softmax").input[0] = "turned"
    turned = replace(folder, files={**folder.files, folder.manifest.graphs["frame"].file: model.SerializeToString()})
    with pytest.raises(PrecisionRefused, match="results agree with fp32, at least 99% must"):
        precision.again(turned, FER, None)


def test_fewer_than_thirty_two_windows_show_nothing(tmp_path: Path) -> None:
    """46 frames on end are 31 windows of 16; one frame more makes 32."""
    for frames in (46, 47):
        faces = drawn_clips(1, frames, 64, 64).transpose(0, 1, 4, 2, 3)
        np.savez(
            tmp_path / f"{frames}.npz", inputs=np.ascontiguousarray(faces).reshape(-1, 3, 64, 64), clip=np.zeros(frames, np.int32),
            track=np.zeros(frames, np.int32), model=np.array("fer-small"),
        )  # fmt: skip
    with pytest.raises(PrecisionRefused, match="has 31 windows; at least 32 are needed"):
        precision.write(tmp_path / "out", FER, Wish("fp16", samples=tmp_path / "46.npz", uniform=True), clock=even)
    made = precision.write(tmp_path / "out", FER, Wish("fp16", samples=tmp_path / "47.npz", uniform=True), clock=even)
    assert made.reduced is not None
    assert made.reduced.windows == 32
