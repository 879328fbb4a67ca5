"""Metrics as Prometheus reads them: names, units and labels of the text, against numbers fed in by hand."""

from __future__ import annotations

import pytest

from service.events import Event, FaceEvent, ModelName, NoCall, Prediction, Rejected, Sync, WindowOf
from service.ledger import Ledger
from service.messages import Dropped, Output
from service.metrics import Metrics


def read(metrics: Metrics) -> dict[str, float]:
    lines = (line for line in metrics.text().decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_ages_and_rounds_are_seconds() -> None:
    metrics = Metrics()
    for seconds in (0.004, 0.3, 2.0):
        metrics.age(seconds)
    metrics.round(4_000_000)
    metrics.round(300_000_000)
    found = read(metrics)
    assert found["mien_label_age_seconds_sum"] == pytest.approx(2.304)
    assert [found[f'mien_label_age_seconds_bucket{{le="{le}"}}'] for le in ("0.005", "0.25", "0.5", "1.0", "2.5", "+Inf")] == [
        1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert found["mien_round_seconds_sum"] == pytest.approx(0.304)
    assert [found[f'mien_round_seconds_bucket{{le="{le}"}}'] for le in ("0.001", "0.005", "0.25", "0.5")] == [0, 1, 1, 2]


def face(labelled: bool) -> FaceEvent:
    sync, window = Sync(("color",), (), {}, "media"), WindowOf((1,), False, (1, 1), 0.0, 1.0)
    prediction = Prediction((), None, None, window, sync, None) if labelled else None
    return FaceEvent(1, (0.0, 0.0, 1.0, 1.0), {}, 0.9, False, True, prediction, None if labelled else NoCall("window-filling", 0.5))


def test_messages_are_counted_by_kind_and_predictions_by_face() -> None:
    metrics = Metrics()
    name = ModelName("tiny", "0" * 12)
    for labelled in ((True, True, False), (), (True,)):
        metrics.said(Output(Event(1, 1, True, tuple(face(one) for one in labelled), None, name, "onnx")))
    metrics.said(Output(Rejected(2, "image-broken", "x")))
    metrics.said(Output(Dropped((3, 9), "rate")))
    found = read(metrics)
    assert found["mien_predictions_total"] == 3
    kinds = {name: value for name, value in found.items() if name.startswith("mien_messages_total")}
    assert kinds == {f'mien_messages_total{{kind="{kind}"}}': count for kind, count in (("event", 3), ("rejected", 1), ("dropped", 1))}


def test_frames_are_summed_over_open_and_closed_sessions_once() -> None:
    metrics, first, second = Metrics(), Ledger(), Ledger()
    for ledger in (first, second):
        metrics.opened(ledger)
    for _ in range(10):
        first.receive()
    for number in (1, 2, 3):
        first.used(number)
    for number in (4, 5):
        first.dropped(number, "rate")
    first.rejected(6, "image-broken")
    second.receive()
    expected = {
        "mien_frames_received_total": 11, "mien_frames_used_total": 3, 'mien_frames_dropped_total{reason="rate"}': 2,
        'mien_frames_rejected_total{code="image-broken"}': 1,
    }  # fmt: skip
    for _ in range(2):
        found = read(metrics)
        assert {name: value for name, value in found.items() if name.startswith("mien_frames")} == expected
        metrics.closed(first)
        metrics.closed(first)
