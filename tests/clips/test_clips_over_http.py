"""`/v1/clips` as a developer meets it: `mien serve` itself, real clips, and what `mien analyze` says of the same ones."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from service.analyze import analyse
from service.events import ClipPrediction, wire
from service.intake import Source
from tests.clips.at_work import ClipServer, serving
from tests.goldens import record


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipServer]:
    with serving(tmp_path_factory.mktemp("state") / "clips", real=True) as it:
        yield it


@pytest.fixture(scope="module")
def analysed(media: Path) -> dict[str, tuple[list[Any], list[Any]]]:
    """Events and clip predictions of `mien analyze`, by file."""
    said = {}
    with record.analyser() as composed:
        for name in ("single_face.mp4", "single_face.jpg"):
            events = list(analyse(Source(media / name, name), composed))
            clip = [wire(event) for event in events if isinstance(event, ClipPrediction)]
            said[name] = ([wire(event) for event in events if not isinstance(event, ClipPrediction)], clip)
    return said


@pytest.mark.parametrize("name", ["single_face.mp4", "single_face.jpg"])
def test_one_request_gives_what_analyze_says(server: ClipServer, media: Path, analysed: Any, name: str) -> None:
    answer = server.send(media / name, "?wait=60")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    document = answer.json
    events, clip = analysed[name]
    assert document["events"] == events
    assert document["clip_prediction"] == clip
    assert clip
    assert document["frames"] == {"expected": len(events), "decoded": len(events), "errors": 0, "with_face": len(events)}
    assert "partial" not in document


def test_a_clip_goes_from_queued_to_done_and_can_be_fetched_in_every_format(server: ClipServer, media: Path, analysed: Any) -> None:
    answer = server.send(media / "single_face.mp4")
    assert answer.status == 202
    accepted = answer.json
    address = answer.headers["location"]
    assert address == f"/v1/clips/{accepted['id']}"
    assert (accepted["state"], accepted["progress"], accepted["error"]) == ("queued", 0.0, None)
    assert server.get(f"{address}/result").code == "clip-not-done"
    done = server.ended(accepted["id"])
    assert (done["state"], done["progress"], done["frames"]["decoded"], done["partial"]) == ("done", 1.0, 72, False)
    events, clip = analysed["single_face.mp4"]
    assert [json.loads(line) for line in server.get(f"{address}/result.ndjson").body.splitlines()] == events + clip
    document = server.get(f"{address}/result.json").json
    assert document["events"] == events
    rows = list(csv.DictReader(io.StringIO(server.get(f"{address}/result", Accept="text/csv").body.decode())))
    assert {row["input"] for row in rows} == {"single_face.mp4"}
    assert [(row["kind"], row["frame"], row["t_s"]) for row in rows[:-1]] == [("frame", f"{n + 1}", f"{n / 30:.6f}") for n in range(72)]
    assert [rows[-1][column] for column in ("kind", "track", "frame", "last_frame", "label")] == ["clip", "1", "1", "72", "happy"]
    assert [(row["label"], row["windows"]) for row in rows[:-1]] == [(v["label"], f"{v['windows']}") for v in document["trace"]]
    vtt = server.get(f"{address}/result", Accept="text/html, text/vtt;q=0.9, application/json;q=0.1")
    assert vtt.headers["content-type"] == "text/vtt; charset=utf-8"
    # A neutral face begins to smile: two cues that meet, from the first of 72 frames at 30 fps to the end of the last.
    head, note, *cues = vtt.body.decode().split("\n\n")
    assert (head, note) == ("WEBVTT", "NOTE Facial expressions as a model labels them, not what anybody feels.")
    (_, first, neutral), (_, second, happy) = (cue.splitlines() for cue in cues)
    assert re.fullmatch(r"<v Face 1>neutral \d+%", neutral)
    assert re.fullmatch(r"<v Face 1>happy \d+%", happy)
    changed = first.removeprefix("00:00:00.000 --> ")
    assert second == f"{changed} --> 00:00:02.400"
    assert "00:00:00.300" < changed < "00:00:01.700"
    assert server.get(f"{address}/result", Accept="image/png").code == "not-acceptable"
    assert server.get(f"{address}/result.exe").code == "not-found"
    assert not any(entry.startswith(("inputs/", "uploads/", "work/")) for entry in server.files())


def test_delete_erases_everything(server: ClipServer, media: Path) -> None:
    address = f"/v1/clips/{server.send(media / 'single_face.jpg').json['id']}"
    server.ended(address.rsplit("/", 1)[1])
    assert server.request("DELETE", address).status == 204
    for again in (server.get(address), server.get(f"{address}/result"), server.request("DELETE", address)):
        assert (again.status, again.code) == (404, "unknown-clip")
    assert not any(address.rsplit("/", 1)[1] in entry for entry in server.files())


def test_a_clip_at_work_can_be_deleted(server: ClipServer, media: Path) -> None:
    id = server.send(media / "WolfgangLanger_Pexels.mp4").json["id"]
    server.eventually(lambda: server.state(id)["progress"] > 0, "it is at work")
    assert server.request("DELETE", f"/v1/clips/{id}").status == 204
    server.eventually(lambda: not any(entry.startswith(("inputs/", "work/")) for entry in server.files()), "its pixels are gone", 10)
    assert server.send(media / "single_face.jpg", "?wait=30").status == 200


def _followed(server: ClipServer, id: str) -> list[Any]:
    with connect(f"ws://127.0.0.1:{server.port}/v1/clips/{id}/events", max_size=None, subprotocols=["mien.v1"]) as socket:  # type: ignore[list-item]
        said = [json.loads(text) for text in socket]
        assert socket.protocol.close_rcvd is not None
        assert socket.protocol.close_rcvd.code == 1000
    return said


def test_followers_get_every_event_whenever_they_join(server: ClipServer, media: Path, analysed: Any) -> None:
    events, clip = analysed["single_face.mp4"]
    id = server.send(media / "single_face.mp4").json["id"]
    early = _followed(server, id)
    late = _followed(server, id)
    for said in (early, late):
        assert [message for message in said if message["type"] not in ("progress", "end")] == events + clip
        assert said[-1]["type"] == "end"
        assert (said[-1]["state"], said[-1]["result"]) == ("done", f"/v1/clips/{id}/result")
    shares = [message["progress"] for message in early if message["type"] == "progress"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_follower_is_told_why_a_clip_failed(server: ClipServer, media: Path) -> None:
    whole = (media / "single_face.mp4").read_bytes()
    said = _followed(server, server.send(whole[: len(whole) // 2]).json["id"])
    assert said[-1]["type"] == "end"
    assert (said[-1]["state"], said[-1]["error"]["code"], said[-1]["error"]["status"]) == ("failed", "clip-unreadable", 422)


def test_who_follows_nothing_is_refused(server: ClipServer) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{server.port}/v1/clips/none/events"):
        pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body or b"")["code"] == "unknown-clip"
    assert server.get("/v1/clips/none/events").code == "upgrade-required"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"model": "../../etc/passwd"}, "unknown-model"),
        ({"model": "blazeface-front"}, "unknown-model"),
        ({"model": "a\0b"}, "unknown-model"),
        ({"faces": 0}, "invalid-parameter"),
        ({"faces": "2"}, "invalid-parameter"),
        ({"hop": 1.5}, "invalid-parameter"),
        ({"smooth": True}, "invalid-parameter"),
    ],
)
def test_options_are_strict(server: ClipServer, media: Path, options: dict[str, Any], code: str) -> None:
    answer = server.send(media / "single_face.jpg", **options)
    assert (answer.status, answer.code) == (422, code)


def test_options_are_obeyed(server: ClipServer, media: Path) -> None:
    document = server.send(media / "single_face.mp4", "?wait=60", hop=8, faces=2).json
    assert [event["frame"] for event in document["events"] if event["due"]] == list(range(8, 73, 8))


@pytest.mark.parametrize("query", ["?wait=-1", "?wait=1000", "?wait=soon", "?wait=nan", "?wate=1"])
def test_the_query_is_strict(server: ClipServer, media: Path, query: str) -> None:
    answer = server.send(media / "single_face.jpg", query)
    assert (answer.status, answer.code) == (422, "invalid-parameter")


def test_a_name_is_only_a_name(server: ClipServer, media: Path) -> None:
    picture = (media / "single_face.jpg").read_bytes()
    for name in ("../../..\\evil.jpg", "../../..\\evil\n.jpg"):
        answer = server.send(picture, "?wait=30", name=name)
        assert (answer.status, answer.json["input"]) == (200, "evil.jpg")
