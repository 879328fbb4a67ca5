"""Cameras of the server: their state, and their events to any number of subscribers."""

from __future__ import annotations

import itertools
import json

import pytest

from capture.driver import SourceError
from tests.api.tiny import WAIT_S, Running, Shelf, picture, rest, running, said, tell

CAMERA = "synthetic:?width=64&height=48&fps=200&faces=1"


def test_a_camera_is_listed_as_it_is_and_its_uri_is_not_told() -> None:
    with running(cameras={"door": CAMERA}) as server:
        server.eventually(lambda: (server.json("/v1/streams")[1]["streams"][0]["fps"] or 0) > 20, "it runs")
        (stream,) = server.json("/v1/streams")[1]["streams"]
    assert (stream["name"], stream["state"], stream["width"], stream["height"]) == ("door", "running", 64, 48)
    assert stream["model"] == {"id": "tiny", "sha256": "0" * 12}
    assert "synthetic:" not in json.dumps(stream)


def test_before_it_is_open_a_camera_is_armed() -> None:
    shelf = Shelf()
    shelf.loading.clear()
    with running(shelf, ready=False, cameras={"door": CAMERA}) as server:
        (stream,) = server.json("/v1/streams")[1]["streams"]
        assert (stream["state"], stream["fps"], stream["model"]) == ("armed", None, None)


def test_without_cameras_the_list_is_empty(server: Running) -> None:
    assert server.json("/v1/streams") == (200, {"streams": []})


def test_every_subscriber_gets_what_is_in_force_and_then_every_event() -> None:
    with (
        running(cameras={"door": CAMERA}) as server,
        server.connect("/v1/streams/door/events") as one,
        server.connect("/v1/streams/door/events", subprotocols=["mien.v1"]) as two,
    ):
        heard = []
        for client in (one, two):
            first = said(client)
            assert (first["type"], first["model"]["id"], first["labels"][0]) == ("session.updated", "tiny", "neutral")
            heard.append({m["frame"]: m for m in (said(client, "result") for _ in range(60))})
        both = set(heard[0]) & set(heard[1])
        assert len(both) > 20
        for frame in both:
            assert {**heard[0][frame], "delivery": 0} == {**heard[1][frame], "delivery": 0}
        for frames in heard:
            assert all(a < b for a, b in itertools.pairwise(frames))
        assert any(face["prediction"] for m in heard[0].values() for face in m["faces"])
        tell(one, "session.close")
        assert rest(one)[1] == 1000
        assert said(two, "result")


@pytest.mark.parametrize("message", [json.dumps({"type": "session.update", "hop": 1}), picture()])
def test_a_subscriber_cannot_change_or_send_anything(message: str | bytes) -> None:
    with running(cameras={"door": CAMERA}) as server, server.connect("/v1/streams/door/events") as client:
        said(client)
        client.send(message)
        messages, code = rest(client)
    assert (messages[-1]["code"], code) == ("read-only", 1008)


def test_subscribers_that_vanish_are_forgotten() -> None:
    with running(cameras={"door": CAMERA}) as server:
        with server.connect("/v1/streams/door/events") as client:
            said(client, "result")
            client.socket.shutdown(2)
        server.eventually(lambda: server.json("/v1/streams")[1]["streams"][0]["subscribers"] == 0, "it is forgotten")
        assert not server.service.connections


def test_a_camera_that_cannot_be_opened_stops_the_server_with_its_error() -> None:
    with running(ready=False, cameras={"door": "video:/does/not/exist.mp4"}) as server:
        server.thread.join(WAIT_S)
        assert not server.thread.is_alive()
        assert isinstance(server.service.failed, SourceError)
