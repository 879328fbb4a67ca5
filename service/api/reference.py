"""The wire's reference, made from the code: docs/live.schema.json, and the tables of docs/api.md.

Owns how models and registry are written down. `python -m service.api.reference docs` writes both; a test compares.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import models_json_schema

from service.api.codes import CLOSES, REGISTRY, Kind
from service.api.messages import ClientMessage, FrameHeader, ServerMessage

SCHEMA_FILE, PAGE_FILE = "live.schema.json", "api.md"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of every message: `ClientMessage`, `ServerMessage` and `FrameHeader` in its `$defs`."""
    client, server = get_args(ClientMessage), get_args(ServerMessage)
    _, made = models_json_schema([(model, "validation") for model in (*client, *server, FrameHeader)])
    defs = dict(sorted(made["$defs"].items()))
    for definition in defs.values():
        constant = [name for name, field in definition.get("properties", {}).items() if "const" in field]
        definition["required"] = sorted({*definition.get("required", []), *constant})
    defs["ClientMessage"] = {"description": "A text message to the server.", "oneOf": [_ref(model.__name__) for model in client]}
    defs["ServerMessage"] = {"description": "A text message from the server.", "oneOf": [_ref(model.__name__) for model in server]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mien.v1",
        "description": "Messages of WS /v1/live and WS /v1/streams/{name}/events. Servers refuse unknown fields; clients ignore them.",
        "oneOf": [_ref("ClientMessage"), _ref("ServerMessage")],
        "$defs": defs,
    }


def schema_text() -> str:
    """Return the schema as it stands in the file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def page(text: str) -> str:
    """Return docs/api.md with its generated tables made again.

    Raises:
        ValueError: the marks of a table are missing.
    """
    for name, lines in (("codes", _codes()), ("closes", _closes())):
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not marked.search(text):
            raise ValueError(f"{PAGE_FILE} has no <!-- {name} --> … <!-- /{name} -->; put them where the table is to stand")
        table = "\n".join(lines) + "\n"
        text = marked.sub(lambda found, table=table: found[1] + table + found[2], text)  # type: ignore[misc]
    return text


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _codes() -> list[str]:
    rows = [f"| `{k.code}` | {_where(k)} | {k.title} | {k.remedy} | {'yes' if k.retryable else ''} |" for k in REGISTRY.values()]
    return ["| code | comes as | meaning | what to do | retry |", "|---|---|---|---|---|", *rows]


def _where(kind: Kind) -> str:
    said = [] if kind.status is None else [f"HTTP {kind.status}"]
    if kind.error:
        said.append("`error`" if kind.close is None else f"`error`, close {kind.close}")
    return ", ".join(said + ["`frame.rejected`"] * kind.frame)


def _closes() -> list[str]:
    return ["| close | meaning |", "|---|---|", *(f"| {code} | {meaning} |" for code, meaning in CLOSES.items())]


def main(folder: Path) -> None:
    """Write both files of `folder` again."""
    (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    file = folder / PAGE_FILE
    file.write_text(page(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
