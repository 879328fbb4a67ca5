"""A rig file: which sources make a rig, how far apart their frames may be, which model looks at them.

Owns the schema and its keys' meanings, in words that docs/rig.md repeats. Does not own opening the sources (`rigs.py`) or matching
(`capture/sync.py`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import TomlConfigSettingsSource
from typing_extensions import Self

from capture.driver import SourceError, create
from capture.ensemble import Device
from capture.frame import Modality
from capture.rig import RigSource
from service.config import Config, ConfigError
from service.config_text import hidden

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MS = 1_000_000
_CLIPS = ("video", "recording")
"""Drivers whose address is a path."""
_FILES = {"virtual": "clip|faces", "remote": "token_file|ca"}
"""Options that are paths, by driver."""
_ESCAPES = str.maketrans({sign: f"%{ord(sign):02X}" for sign in "%?&+#"})


class Table(BaseModel):
    """Frozen; unknown keys are errors, and so are values of another type: TOML has types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class SourceTable(Table):
    """One source: a stream of pictures of one kind."""

    modality: Literal["color", "depth", "thermal", "ir"] = Field(description="What its pictures are. A rig has one source of each at most.")
    uri: str | None = Field(
        None, min_length=3, description="Its camera, as in `mien serve --camera`. Relative paths start at the rig file."
    )
    of: str | None = Field(None, description="Instead of `uri`: it comes from the device of the source of this name.")
    serial: str | None = Field(
        None, description="The serial number its device must have. Not set: the first one found, and after a loss only that one again."
    )
    hold_ms: float | None = Field(
        None, ge=0, le=10_000, description="How old a frame may be that is used again when no newer one comes. Not set: `tolerance_ms`."
    )
    latency_ms: float = Field(
        0.0,
        ge=0,
        le=10_000,
        description="The least time from the instant stamped to arrival, if it was measured: stamps alone cannot tell it.",
    )
    aligned: bool = Field(
        False,
        description="Its picture shows what the colour picture shows, edge to edge. Only then are a face's depth and heat cut from it.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.uri is None) == (self.of is None):
            raise ValueError("give `uri` or `of`, one of them")
        if self.of is not None and self.serial is not None:
            raise ValueError("`serial` belongs to the source that has the `uri`")
        return self


class RigFile(Table):
    """A rig."""

    name: str = Field("rig", pattern=_NAME.pattern, description="What it is called in addresses: lower-case letters, digits, `-`, `_`.")
    model: str | None = Field(None, description="The model that looks at it. Not set: the server's.")
    tolerance_ms: float = Field(
        40.0, gt=0, le=1000, description="How far from the colour frame in time another one may be, unless it is held."
    )
    deadline_ms: float = Field(
        80.0,
        ge=0,
        le=5000,
        description="How long a colour frame waits for the others. Then it goes on with what is there, and says so.",
    )
    trigger: Literal["free", "hardware"] = Field(
        "free",
        description="`free`: each camera runs by itself; all start and stop at one instant. `hardware`: a cable makes them expose "
        "together; mien checks only that `tolerance_ms` is then at most 10.",
    )
    sources: dict[str, SourceTable] = Field(description="The sources by name, one `[sources.NAME]` each.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        modalities = [source.modality for source in self.sources.values()]
        if modalities.count("color") != 1:
            raise ValueError(f"sources: {modalities.count('color')} are of modality color; there must be one: faces are found in it")
        for name, source in self.sources.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"sources.{name[:80]}: a name is 1–64 lower-case letters, digits, '-' or '_', the first no sign")
            if modalities.count(source.modality) > 1:
                raise ValueError(f"sources.{name}: another source is of modality {source.modality} too; there may be one")
            if source.of is not None and (source.of not in self.sources or self.sources[source.of].uri is None):
                raise ValueError(f"sources.{name}.of: {source.of!r} is no source with a uri")
        if self.trigger == "hardware" and self.tolerance_ms > 10:
            raise ValueError(f"tolerance_ms: {self.tolerance_ms:g} with trigger hardware; cameras on one cable are within 10 ms")
        return self

    @property
    def tolerance_ns(self) -> int:
        """Return the tolerance in ns."""
        return round(self.tolerance_ms * _MS)

    @property
    def deadline_ns(self) -> int:
        """Return the deadline in ns."""
        return round(self.deadline_ms * _MS)

    @property
    def gives(self) -> frozenset[str]:
        """Return the modalities that crops of a face can be cut from."""
        return frozenset({"color", *(source.modality for source in self.sources.values() if source.aligned)})

    def devices(self) -> list[Device]:
        """Return the rig's devices, not yet opened, that of the colour source first.

        Raises:
            SourceError: a URI names no driver, or its options are wrong.
        """
        made = []
        by_color = sorted(self.sources, key=lambda name: self.sources[name].modality != "color")
        for name in sorted((n for n in by_color if self.sources[n].uri is not None), key=lambda n: not self._has_color(n)):
            uri = self.sources[name].uri
            assert uri is not None
            members = {n: self.sources[n] for n in by_color if n == name or self.sources[n].of == name}
            streams: dict[Modality, RigSource] = {source.modality: self._source(n, source) for n, source in members.items()}
            try:
                driver = create(uri, name)
            except SourceError as error:
                raise SourceError(error.code, f"source {name}: {error}") from None
            made.append(Device(driver, streams, self.sources[name].serial))
        return made

    def rig_sources(self) -> list[RigSource]:
        """Return the rig's sources, that of colour first."""
        by_color = sorted(self.sources, key=lambda name: self.sources[name].modality != "color")
        return [self._source(name, self.sources[name]) for name in by_color]

    def _has_color(self, name: str) -> bool:
        return any(s.modality == "color" for n, s in self.sources.items() if n == name or s.of == name)

    def _source(self, name: str, source: SourceTable) -> RigSource:
        hold_ms = self.tolerance_ms if source.hold_ms is None else source.hold_ms
        return RigSource(name, source.modality, latency_ns=round(source.latency_ms * _MS), hold_ns=round(hold_ms * _MS))


def load_rig(path: Path) -> RigFile:
    """Return the rig that a TOML file describes.

    Raises:
        ConfigError: it cannot be read, is no TOML, or breaks a rule; one line.
    """
    if path.is_dir():
        raise ConfigError(f"rig file {path} is a folder; give the file in it")
    if not path.exists():
        raise ConfigError(f"rig file {path} does not exist; examples are in deploy/rigs")
    try:
        said = TomlConfigSettingsSource(Config, path)()
    except OSError as error:
        raise ConfigError(f"rig file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"rig file {path} is not TOML: {error}") from error
    try:
        rig = RigFile.model_validate(said)
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from error
    sources = {name: s.model_copy(update={"uri": _beside(path, s.uri)}) for name, s in rig.sources.items()}
    return rig.model_copy(update={"sources": sources})


def told_rig(rig: RigFile) -> dict[str, Any]:
    """Return a rig as JSON that may be kept: without what may be secret in its cameras' URIs."""
    sources = {name: s.model_copy(update={"uri": None if s.uri is None else hidden(s.uri)}) for name, s in rig.sources.items()}
    return rig.model_copy(update={"sources": sources}).model_dump(mode="json")


def rig_path(uri: str) -> Path | None:
    """Return the rig file that a camera's URI names (`rig:FILE`), None for any other camera."""
    return Path(uri.removeprefix("rig:")) if uri.startswith("rig:") else None


def keys() -> list[tuple[str, str, str]]:
    """Return every key with its default and meaning, as docs/rig.md lists them."""
    rows = []
    for prefix, table in (("", RigFile), ("sources.NAME.", SourceTable)):
        for key, field in table.model_fields.items():
            default = "required" if field.is_required() else "not set" if field.default is None else f"`{_toml(field.default)}`"
            rows.append((f"{prefix}{key}", default, field.description or ""))
    return rows


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else f'"{value}"'


def _beside(path: Path, uri: str | None) -> str | None:
    """Return a URI whose relative paths start at the rig file: of clips and recordings, and of the options in `_FILES`."""
    if uri is None:
        return None

    def absolute(match: re.Match[str]) -> str:
        # As a URI writes it: a folder may have a %, ?, & or + in its name.
        return match[1] + str(path.parent.absolute()).translate(_ESCAPES) + "/" + match[2]

    driver = uri.partition(":")[0]
    if driver in _CLIPS and "://" not in uri:
        return re.sub(r"^([a-z]+:)([^/?][^?]*)", absolute, uri)
    if driver in _FILES:
        return re.sub(rf"([?&](?:{_FILES[driver]})=)([^/&][^&]*)", absolute, uri)
    return uri


def _explain(path: Path, error: ValidationError) -> str:
    # A key that does not exist is the likelier cause of one that is missing.
    first, *others = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(str(step) for step in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        table = SourceTable if key.startswith("sources.") else RigFile
        said = f"there is no such key; there are: {', '.join(table.model_fields)}"
    elif first["type"] == "missing":
        said = "is missing" if "." in key else "is missing: each source is a table [sources.NAME]"
    elif isinstance(first["input"], dict):  # the rule says which key
        pass
    elif key and not key.endswith("uri"):  # which may hold a password
        said += f", not {first['input']!r:.60}"
    return f"rig file {path}: {key + ': ' if key else ''}{said}{f' (and {len(others)} more)' if others else ''}"
