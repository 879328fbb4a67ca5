"""docs/live.schema.json and docs/api.md are what the code says, and the server says what they allow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from service.api import reference
from service.api.messages import CLIENT
from service.events import ClipPrediction, ModelName, Score, SourceEvent, WindowOf, wire
from tests.api.tiny import Shelf, framed, picture, rest, running, said, tell


def _validator(name: str) -> jsonschema.Draft202012Validator:
    """Of a definition, closed: a field that is not described is an error here, though clients ignore it."""
    schema = reference.schema()
    for definition in schema["$defs"].values():
        if "properties" in definition:
            definition["additionalProperties"] = False
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]})


def test_the_files_are_up_to_date(checkout: Path) -> None:
    assert (checkout / "docs" / reference.SCHEMA_FILE).read_text("utf-8") == reference.schema_text(), "run python -m service.api.reference"
    text = (checkout / "docs" / reference.PAGE_FILE).read_text("utf-8")
    assert reference.page(text) == text, "run python -m service.api.reference"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(reference.schema())


def test_the_pages_examples_are_messages(checkout: Path) -> None:
    text = (checkout / "docs" / reference.PAGE_FILE).read_text("utf-8")
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    kinds = {example["type"]: example for example in examples}
    _validator("ServerMessage").validate(kinds["result"])
    _validator("ClientMessage").validate(kinds["session.update"])
    assert "urn:mien:problem:unknown-model" in kinds


def test_everything_the_server_says_fits() -> None:
    shelf, heard = Shelf(slow_s=0.002), list[dict[str, Any]]()
    with running(shelf, cameras={"door": "synthetic:?width=64&height=48&fps=100"}) as server:
        with server.connect() as client:
            for _ in range(30):
                client.send(picture())
            client.send(picture((0, 0, 0)))
            client.send(b"nothing")
            tell(client, "session.update", policy="all")
            for n in range(9):
                client.send(framed(picture(), id=str(n)))
            tell(client, "session.auth", token="x")
            shelf.loading.clear()
            tell(client, "session.update", model="late")
            while not heard or heard[-1].get("loading") is not True:
                heard.append(said(client))
            shelf.loading.set()
            while heard[-1].get("model", {}).get("id") != "late" or heard[-1]["loading"]:
                heard.append(said(client))
            client.send(picture())
            tell(client, "session.close")
            heard += rest(client)[0]
        with server.connect() as client:
            for n in range(8):
                client.send(picture((200 if n < 7 else 0, 30, 30)))
                heard.append(said(client))
        with server.connect("/v1/streams/door/events") as client:
            heard += [said(client) for _ in range(20)]
            server.server.should_exit = True
            heard += rest(client)[0]
    heard.append(wire(SourceEvent("door", "lost", "color", 1)))
    window = WindowOf((1, 2), True, (1, 4), 100.0, 1.0)
    heard.append(wire(ClipPrediction(1, (Score("happy", 1.0),), "happy", None, window, 2, 1.0, (1, 9), ModelName("m", "0"), "b")))
    validator = _validator("ServerMessage")
    for message in heard:
        validator.validate(message)
    assert {m["type"] for m in heard} >= {
        "session.created", "session.updated", "session.closed", "result", "frame.dropped", "error", "draining", "source", "clip_prediction",
    }  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        {"type": "session.update"},
        {"type": "session.update", "model": "a", "hop": 1, "policy": "all", "faces": 64},
        {"type": "session.update", "hop": 0},
        {"type": "session.update", "hop": 1.5},
        {"type": "session.update", "faces": 65},
        {"type": "session.update", "other": 1},
        {"type": "session.auth", "token": "t"},
        {"type": "session.auth"},
        {"type": "session.close"},
        {"type": "session.created"},
    ],
)
def test_schema_and_server_agree_on_what_clients_may_say(message: dict[str, Any]) -> None:
    by_schema = _validator("ClientMessage").is_valid(message)
    try:
        CLIENT.validate_json(json.dumps(message))
        by_server = True
    except ValueError:
        by_server = False
    assert by_schema is by_server
