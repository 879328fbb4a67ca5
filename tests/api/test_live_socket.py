"""`WS /v1/live` over a real socket: what is sent, in which order, and how it ends."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from tests.api.tiny import WAIT_S, Running, Shelf, framed, picture, refused, rest, running, said, tell

MODEL = {"id": "tiny", "sha256": "0" * 12}


def _closed(socket: ClientConnection) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """End the session; return what came before the last message, and the last."""
    tell(socket, "session.close")
    messages, code = rest(socket)
    assert code == 1000
    assert messages[-1]["type"] == "session.closed"
    return messages[:-1], messages[-1]


def test_the_first_message_names_session_limits_model_and_window(server: Running) -> None:
    with server.connect(subprotocols=["mien.v1"]) as socket:
        first = said(socket)
        assert socket.subprotocol == "mien.v1"
        assert first.pop("session_id")
        assert first == {
            "type": "session.created",
            "limits": {"max_message_bytes": 2_097_152, "max_pixels": 8_000_000, "max_in_flight": 32},
            "model": MODEL,
            "labels": ["neutral", "happy", "sad", "angry"],
            "window": {"frames": 4, "buffer": 4, "hop": 2, "period_ms": None},
            "policy": "latest",
            "faces": 1,
            "notice_required": False,
        }


def test_policy_all_answers_every_frame_in_order_with_its_id(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.update", policy="all")
        assert said(socket) == {
            "type": "session.updated", "loading": False, "model": MODEL, "labels": ["neutral", "happy", "sad", "angry"],
            "window": {"frames": 4, "buffer": 4, "hop": 2, "period_ms": None}, "policy": "all", "faces": 1, "from_frame": 1,
        }  # fmt: skip
        for n in range(1, 101):
            kind = "png" if n % 2 else "jpeg"
            socket.send(framed(picture(kind=kind), kind, id=f"f{n}", t_capture_ns=n * 33_000_000))
        messages, closed = _closed(socket)
    assert [(m["type"], m["frame"], m["id"]) for m in messages] == [("result", n, f"f{n}") for n in range(1, 101)]
    assert closed == {"type": "session.closed", "reason": "client", "received": 100, "used": 100, "dropped": {}, "rejected": 0}
    due = [m for m in messages if m["due"]]
    assert [m["frame"] for m in due] == list(range(2, 101, 2))
    window = due[1]["faces"][0]["prediction"]
    assert window["window"]["frames"] == [1, 2, 3, 4]
    assert window["sync"]["clock"] == "client"
    assert sum(score["probability"] for score in window["scores"]) == pytest.approx(1, abs=1e-5)
    assert window["derived"] is True


def test_a_bare_jpeg_and_a_bare_png_are_frames(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.update", policy="all")
        for kind in ("jpeg", "png"):
            socket.send(picture(kind=kind))
            result = said(socket, "result")
            assert "id" not in result
            assert result["model"] == MODEL
            assert result["weights"] == "random"


def test_delivery_is_made_at_sending(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        socket.send(picture())
        delivery = said(socket, "result")["delivery"]
    assert delivery["t_utc"].endswith("Z")
    assert set(delivery["timing"]) == {"decode", "wait", "infer", "send"}
    assert all(ms >= 0 for ms in delivery["timing"].values())
    assert delivery["age_ms"] == pytest.approx(sum(delivery["timing"].values()), abs=1.0)
    assert delivery["dropped_since_last"] == 0


def test_policy_latest_accounts_for_every_frame_of_a_flood() -> None:
    with running(Shelf(slow_s=0.01), session={"max_fps": 1000.0}) as server, server.connect() as socket:
        said(socket)
        for _ in range(200):
            socket.send(picture())
            time.sleep(0.001)  # a flood of a thousand a second, which the limit just lets in
        messages, closed = _closed(socket)
    ends: list[int] = []
    for message in messages:
        if message["type"] == "result":
            ends.append(message["frame"])
        elif message["type"] == "frame.dropped":
            assert message["reason"] in ("superseded", "rate")
            first, last = message["frames"]
            ends += range(first, last + 1)
    assert sorted(ends) == list(range(1, 201))
    assert closed["received"] == 200 == closed["used"] + sum(closed["dropped"].values()) + closed["rejected"]
    assert closed["used"] < 200
    lost = sum(m["delivery"]["dropped_since_last"] for m in messages if m["type"] == "result")
    assert lost == sum(closed["dropped"].values())


def test_policy_all_stops_reading_at_max_in_flight() -> None:
    seen: list[int] = []
    with running(Shelf(slow_s=0.005), session={"policy": "all"}, server={"max_in_flight": 4}) as server, server.connect() as socket:
        said(socket)
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.001):
                seen.extend(session.feed.ledger.in_flight for session in tuple(server.service.connections))  # type: ignore[attr-defined]

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(60):
            socket.send(picture())
        messages, closed = _closed(socket)
        done.set()
        watcher.join(WAIT_S)
    assert [m["frame"] for m in messages] == list(range(1, 61))
    assert closed["used"] == 60
    assert 0 < max(seen) <= 4


def test_an_update_changes_hop_and_faces_from_the_next_frame(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.update", hop=5, faces=3)
        updated = said(socket)
        assert (updated["window"]["hop"], updated["faces"], updated["from_frame"]) == (5, 3, 1)


def test_a_model_that_is_not_loaded_is_said_to_load_while_the_old_one_goes_on() -> None:
    shelf = Shelf()
    with running(shelf, session={"policy": "all"}) as server, server.connect() as socket:
        said(socket)
        shelf.loading.clear()
        tell(socket, "session.update", model="late")
        assert said(socket) == {"type": "session.updated", "loading": True, "model": {"id": "late"}}
        socket.send(picture())
        assert said(socket)["model"] == MODEL
        shelf.loading.set()
        updated = said(socket)
        assert (updated["loading"], updated["model"]["id"], updated["from_frame"]) == (False, "late", 2)
        socket.send(picture())
        assert said(socket)["model"]["id"] == "late"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "nope"}, "unknown-model"),
        ({"model": "synthetic-detector"}, "unknown-model"),
        ({"rig": "lab"}, "unknown-rig"),
        ({"notice": "receipt"}, "notice-not-required"),
    ],
)
def test_a_refused_update_changes_nothing_and_keeps_the_connection(server: Running, fields: dict[str, Any], code: str) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.update", policy="all", **fields)
        error = said(socket)
        assert (error["type"], error["code"], error["retryable"]) == ("error", code, False)
        tell(socket, "session.update")
        updated = said(socket)
        assert (updated["type"], updated["policy"], updated["model"]) == ("session.updated", "latest", MODEL)


def test_a_model_that_does_not_load_is_said_without_naming_files(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.update", model="unloadable")
        error = said(socket, "error")
        assert error["code"] == "model-not-loaded"
        assert "secret" not in json.dumps(error)


def test_auth_is_answered_and_changes_nothing(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.auth", token="abc")
        assert said(socket)["code"] == "auth-not-enabled"
        socket.send(picture())
        assert said(socket)["type"] == "result"


@pytest.mark.parametrize("modality", ["depth", "thermal"])
def test_parts_of_a_rig_are_rejected_frame_by_frame(server: Running, modality: str) -> None:
    color, other = picture(), picture(kind="png")
    parts = [
        {"modality": "color", "format": "jpeg", "bytes": len(color)},
        {"modality": modality, "format": "png", "bytes": len(other), "scale": 0.001, "unit": "m"},
    ]
    with server.connect() as socket:
        said(socket)
        socket.send(framed(color + other, parts=parts, id="x"))
        rejected = said(socket)
        assert (rejected["type"], rejected["frame"], rejected["id"], rejected["code"]) == ("frame.rejected", 1, "x", "unknown-rig")
        assert modality in rejected["detail"]


def test_frames_out_of_order_or_without_the_sessions_clock_are_rejected(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.update", policy="all")
        said(socket)
        for message in (framed(picture(), t_capture_ns=100), framed(picture(), t_capture_ns=100), picture()):
            socket.send(message)
        kinds = [said(socket) for _ in range(3)]
    assert [m["type"] for m in kinds] == ["result", "frame.rejected", "frame.rejected"]
    assert [m["code"] for m in kinds[1:]] == ["time-order", "clock-mismatch"]


def _half(data: bytes) -> bytes:
    return (3).to_bytes(4, "little") + b'{"p' + data


@pytest.mark.parametrize(
    "message",
    [
        framed(picture())[:-1],
        framed(picture()) + b"\0",
        framed(picture(), color=1),
        framed(picture(), t_capture_ns=-1),
        framed(picture(), t_capture_ns="1"),
        framed(picture(), parts=[]),
        framed(picture() * 2, parts=[{"modality": "color", "format": "jpeg", "bytes": len(picture())}] * 2),
        framed(picture(), parts=[{"modality": "color", "format": "gif", "bytes": len(picture())}]),
        (2**32 - 1).to_bytes(4, "little") + framed(picture())[4:],
        _half(picture()),
    ],
)
def test_a_wrong_frame_header_is_an_error_then_1008(server: Running, message: bytes) -> None:
    with server.connect() as socket:
        said(socket)
        socket.send(message)
        messages, code = rest(socket)
    assert ([m["code"] for m in messages], code) == (["bad-frame"], 1008)


def test_a_vanished_client_frees_its_session(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        socket.send(picture())
        socket.socket.shutdown(2)
    server.eventually(lambda: not server.service.connections and server.service.loop.stats().sessions == 0, "everything is freed")
    with server.connect() as other:
        said(other)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/v1/nothing", 404, "not-found"), ("/v1/live?model=late", 422, "invalid-parameter"), ("/v1/streams/x/events", 404, "unknown-stream")],
)
def test_a_refused_handshake_is_a_problem(server: Running, path: str, status: int, code: str) -> None:
    got, _, problem = refused(server, path)
    assert (got, problem["code"], problem["status"]) == (status, code, status)


def test_a_broken_handshake_is_a_problem(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    connection.request("GET", "/v1/live", headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "short"})
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    connection.close()
    assert (answer.status, answer.headers["Content-Type"], problem["code"]) == (400, "application/problem+json", "bad-request")
