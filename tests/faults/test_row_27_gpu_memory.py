"""FAULTS row 27: no memory on the device: a smaller batch once, then no label live, and 503 `gpu-memory` for clips."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from engines.engine import Arrays, DeviceFull, EngineInfo, EngineOptions
from engines.folder import open_folder
from engines.open import open_engine
from service.events import Event, Rejected
from service.inputs import Failed, GraphKey, Request
from service.perception.synthetic import DETECTOR_ID, EXPRESSION_ID, SyntheticPerception
from service.pipeline import Pipeline
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions
from tests.clips import made
from tests.clips.at_work import serving
from tests.session.world import D, bundle, engines, face, model

KEY: GraphKey = (EXPRESSION_ID, "frame")


class Card:
    """An engine on a device with room for so many rows at once; twice its input comes out."""

    def __init__(self, room: int) -> None:
        self.info = EngineInfo("card", "1", 0)
        self.room = room
        self.asked: list[int] = []

    def run(self, inputs: Arrays) -> Arrays:
        rows = len(inputs["x"])
        self.asked.append(rows)
        if rows > self.room:
            raise DeviceFull(f"no room for {rows} rows")
        return {"y": np.asarray(inputs["x"], np.float32) * 2}

    def close(self) -> None:
        """Hold nothing."""


def asked(batcher: Batcher, count: int) -> list[object]:
    return list(batcher.run([Request(KEY, {"x": np.full(3, n, np.float32)}) for n in range(count)]))


def right(found: list[object]) -> bool:
    return all(isinstance(row, Mapping) and (row["y"] == 2 * n).all() for n, row in enumerate(found))


def test_row_27_a_smaller_batch_once_and_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    card = Card(room=5)
    batcher = Batcher({KEY: card}, {KEY: 8})
    with caplog.at_level(logging.WARNING, "mien.rounds"):
        assert right(asked(batcher, 8))
        assert card.asked == [8, 4, 4]
        assert right(asked(batcher, 7))
    assert card.asked == [8, 4, 4, 4, 3], "what was too much once is not tried again"
    assert caplog.text.count("is too large") == 1
    assert batcher.full == frozenset()


def test_row_27_not_even_so(caplog: pytest.LogCaptureFixture) -> None:
    card = Card(room=0)
    batcher = Batcher({KEY: card}, {KEY: 8})
    found = asked(batcher, 8)
    assert card.asked == [8, 4], "once: what cannot be had is not hunted down to single rows"
    assert all(isinstance(row, Failed) and row.full and row.code == "backend-lost" for row in found)
    assert batcher.full == {KEY}
    card.room = 8
    assert right(asked(batcher, 8))
    assert batcher.full == frozenset()


class Filling:
    """The engine of a network or face finder, on a device that other programs fill and leave; `full`: there is no room now."""

    def __init__(self, key: GraphKey, full: bool) -> None:
        self.info = EngineInfo("card", "1", 0)
        self.full = full
        self.key = key
        self._engine = engines()[key]

    def run(self, inputs: Arrays) -> Arrays:
        if self.full:
            raise DeviceFull("no room")
        return self._engine.run(inputs)

    def close(self) -> None:
        """Hold nothing."""


def pipeline(card: Filling) -> Pipeline:
    """A session of windows of two frames, one of whose engines is on that device."""
    batcher = Batcher({**engines(), card.key: card}, {})
    return Pipeline(Session(model(2, 2, 1), SyntheticPerception(D, confirm_frames=1), SessionOptions()), batcher)


def test_row_27_live_sessions_go_on_without_labels_and_have_them_again() -> None:
    card = Filling((EXPRESSION_ID, "frame"), full=True)
    pipe = pipeline(card)
    codes: list[str | None] = []
    for number in range(1, 10):
        card.full = number not in (3, 4, 5, 7, 8)
        (event,) = pipe.push(bundle(number, [face(0)]))
        assert isinstance(event, Event)
        (found,) = event.faces
        assert (found.prediction is None) is (found.no_call is not None)
        codes.append(None if found.no_call is None else found.no_call.code)
    # Without any sample the window fills first; with a full one it is the device's fault.
    filling, full = "window-filling", "backend-lost"
    assert codes == [filling, filling, filling, None, None, full, None, None, full]


def test_row_27_a_frame_without_faces_found_says_why() -> None:
    (said,) = pipeline(Filling((DETECTOR_ID, "full"), full=True)).push(bundle(1, [face(0)]))
    assert isinstance(said, Rejected)
    assert said.code == "gpu-memory"


def test_row_27_a_clip_is_answered_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_FULL", "1")
    with serving(tmp_path / "state") as server:
        answer = server.send(made.clip(tmp_path / "a.mp4"), "?wait=30")
        assert (answer.status, answer.code) == (503, "gpu-memory")
        assert answer.json["retryable"] is True
        id = server.send(made.clip(tmp_path / "b.mp4", seed=1)).json["id"]
        assert server.ended(id)["error"]["code"] == "gpu-memory"


def test_row_27_on_a_real_device(tmp_path: Path, checkout: Path) -> None:
    """Takes what the device has left, then asks for a run."""
    pytest.importorskip("cuda.bindings")
    from engines.engine import BackendMissing
    from engines.plans.cuda import checked, device, rt

    try:
        device()
    except BackendMissing as error:
        pytest.skip(str(error))
    folder = open_folder(checkout / "engines" / "models" / "fer-small")
    taken = []
    try:
        size = checked(rt.cudaMemGetInfo())[0]
        while size > 2**20:
            try:
                taken.append(checked(rt.cudaMalloc(size)))
            except DeviceFull:
                size //= 2
        with pytest.raises(DeviceFull):
            open_engine(folder, "frame", EngineOptions("tensorrt", plans=str(tmp_path / "plans")))
    finally:
        for pointer in taken:
            rt.cudaFree(pointer)
