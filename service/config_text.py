"""The configuration as text: TOML that `load` reads back, and the reference page in Markdown.

Owns rendering only; both texts are made from the model's own fields, so they cannot disagree with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from capture.driver import is_url, shown
from service.config import Config, Section, variable

_BARE = re.compile(r"[A-Za-z0-9_-]+")

_INTRODUCTION = """\
# Configuration

One configuration serves every command. A value comes from, first found wins: a **flag**, an **environment variable**,
the **file** (`--config FILE`, else the file that `MIEN_CONFIG` names; TOML), the **default**. Unknown keys and unknown
`MIEN_` variables are refused. `mien config` prints the effective configuration in the file's own form.

In variables, lists are separated by commas and `none` means *not set*. Relative paths start at the working directory.
In Kubernetes set `enableServiceLinks: false`: a service called `mien` would otherwise add `MIEN_` variables of its own.

This page is made by `mien config --markdown`; a test compares them.
"""


def toml(config: Config, show_secrets: bool = False) -> str:
    """Return `config` as TOML with every key's meaning in comments; secrets in camera URIs are hidden unless asked for."""
    blocks = [_table(name, section) for name, section in _sections(config)]
    about = Config.model_fields["cameras"].description or ""
    lines = [*_comment(about), "[cameras]"]
    for name, uri in sorted(config.cameras.items()):
        shown = uri if show_secrets else hidden(uri)
        lines += ["# what may be secret is left out: mien config --show-secrets prints it"] if shown != uri else []
        lines.append(f"{_key(name)} = {_value(shown)}")
    return "\n\n".join([*blocks, "\n".join(lines)]) + "\n"


def markdown() -> str:
    """Return the reference page: one table per section, a row per key."""
    parts = [_INTRODUCTION]
    for name, section in _sections(Config()):
        parts.append(f"## `[{name}]`\n\n{section.__doc__}\n\n| key | value | default | environment | meaning |\n|---|---|---|---|---|")
        schema = type(section).model_json_schema()["properties"]
        for key, field in type(section).model_fields.items():
            default = "not set" if field.default is None else f"`{_value(field.default)}`"
            allowed, meaning = _allowed(schema[key]), _cell(field.description or "")
            parts.append(f"| `{key}` | {allowed} | {default} | `{variable(f'{name}.{key}')}` | {meaning} |")
        parts.append("")
    about = Config.model_fields["cameras"].description or ""
    parts.append(f"## `[cameras]`\n\n{about}\nEnvironment: `{variable('cameras')}__NAME`; names from there are lower-cased.\n")
    return "\n".join(parts)


def hidden(uri: str) -> str:
    """Return `uri` without what may be secret: of a network URL only scheme, host and port are left."""
    driver, _, address = uri.partition(":") if uri.startswith("video:") else ("", "", uri)
    if not is_url(address):
        return uri
    return (f"{driver}:" if driver else "") + shown(address)


def _sections(config: Config) -> Iterator[tuple[str, Section]]:
    for name in Config.model_fields:
        value = getattr(config, name)
        if isinstance(value, Section):
            yield name, value


def _table(name: str, section: Section) -> str:
    lines = [*_comment(section.__doc__ or ""), f"[{name}]"]
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        lines += _comment(field.description or "")
        lines.append(f"# {key} is not set" if value is None else f"{key} = {_value(value)}")
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in text.splitlines()]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        # JSON's escapes are TOML's, but TOML also wants DEL escaped.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"no TOML for {type(value).__name__}")


def _allowed(schema: Mapping[str, Any]) -> str:
    """Return in words what a key's JSON schema allows."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    option = options[0]
    if "enum" in option:
        return " or ".join(f"`{choice}`" for choice in option["enum"])
    words = {"string": "text", "integer": "integer", "number": "number", "boolean": "`true` or `false`", "array": "list of texts"}
    bounds = []
    for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")):
        if key in option:
            bounds.append(f"{sign} {option[key]:g}" if isinstance(option[key], float) else f"{sign} {option[key]}")
    return " ".join([words[option["type"]], ", ".join(bounds)]).strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
