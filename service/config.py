"""The one configuration: every key, its meaning, default and bounds, and where its value comes from.

Owns the schema and the order of precedence: flags, then environment, then file, then defaults. Unknown keys and
variables are refused wherever they stand. Does not render (`config_text.py`) and does not act on any value. `Config()`
reads nothing from outside: only `load` does.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from service.refusal import Refusal

PREFIX = "MIEN_"
FILE_VARIABLE = "MIEN_CONFIG"
_CAMERA = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_URI = re.compile(r"[a-z][a-z0-9+.-]*:.+")

Layer = tuple[str, Mapping[str, Any]]
"""Where values come from, in words, and the values: section → key → value."""


class ConfigError(Refusal):
    """A configuration that cannot be used. One line: the key, where it stands, what is wrong, what to do."""


def _listed(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
OptionalNames = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_listed)]
Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_listed)]


class Section(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Server(Section):
    """Where `mien serve` listens and what it accepts."""

    host: str = Field("127.0.0.1", description="Address to bind. Only loopback until there is authentication. Flag `--host`.")
    port: int = Field(8765, ge=0, le=65535, description="TCP port to bind; 0 takes any free one. Flag `--port`.")
    origins: Names = Field(
        (), description="Origins (`https://host:port`) that browsers may connect from besides the server's own. Others get 403."
    )
    max_message_bytes: int = Field(
        2_097_152, ge=1024, le=268_435_456, description="Longest WebSocket message, bytes. Longer: close code 1009."
    )
    max_pixels: int = Field(
        8_000_000, ge=4096, le=268_435_456, description="Most pixels of a pushed image, read from its header before decoding."
    )
    max_in_flight: int = Field(
        32, ge=1, le=4096, description="Frames a session may have unanswered under policy `all`; then its socket is not read."
    )
    max_sessions: int = Field(32, ge=1, le=4096, description="Live sessions at once. More: 503, or close code 1013.")
    broken_in_a_row: int = Field(10, ge=1, le=1000, description="Unusable images in a row after which a connection is closed with 1008.")
    demo: Path | None = Field(None, description="A clip that the page offers as demo: browsers play it and push it like their camera.")

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        try:
            inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            inside = False
        if not inside:
            raise ValueError(
                "not a loopback address, and there is no authentication yet: anyone who can reach it could watch; "
                "bind 127.0.0.1 and reach it through an SSH tunnel or an authenticating proxy on the same machine"
            )
        return host


class Model(Section):
    """Which networks are used and where their folders are."""

    id: str = Field(
        "fer-small",
        min_length=1,
        max_length=4096,
        description="Expression model: an id that `mien models` lists, or a model folder (written with a `/`: `./mine`). Flag `--model`.",
    )
    detector: str = Field(
        "blazeface-front",
        min_length=1,
        max_length=4096,
        description="Face finder: a detector's id, its folder, or `mediapipe` (with `detector_file`). Flag `--detector`.",
    )
    detector_file: Path | None = Field(
        None, description="Model file of a face finder without a folder: for `mediapipe` a .tflite of MediaPipe's face detection."
    )
    dirs: Paths = Field(
        (),
        description="Directories of more model folders. A model in them takes the place of a shipped one of the same id. "
        "Flag `--models` (repeatable).",
    )
    allow_random_weights: bool = Field(
        False,
        description="Load models whose weights are random, for tests of speed. Every event then says so. Flag `--allow-random-weights`.",
    )


class EngineSection(Section):
    """What the networks run on."""

    backend: str = Field(
        "onnx",
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
        description="Runtime: a file name in `engines/backends`, or `auto`: the quickest that opens the model; a note says why. "
        "Flag `--backend`.",
    )
    detector_backend: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
        description="Runtime of the face finder; not set: that of `backend`, but `onnx` beside `triton`: faces are found here.",
    )
    providers: OptionalNames = Field(
        None, description="onnxruntime execution providers, or OpenVINO devices, in order of wish; not set: the backend's default."
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="What fp32 networks are computed in. `bf16`: `openvino` on a CPU that has it; what chooses stays fp32."
    )
    url: str = Field("127.0.0.1:8001", min_length=1, max_length=1024, description="HOST:PORT of the inference server, for `triton`.")
    timeout_s: float = Field(
        2.0, gt=0, le=60, description="How long that server may take above what a run needs; then it counts as lost, and labels say so."
    )
    plans: Path | None = Field(
        None, description="Folder of TensorRT's compiled plans, yours alone; not set: `mien/plans` in your cache (XDG_CACHE_HOME)."
    )
    threads: int = Field(0, ge=0, le=1024, description="Threads within one network; 0: the runtime chooses. Flag `--threads`.")
    allow_fallback: bool = Field(False, description="Run on another device than the one asked for instead of refusing to start.")


class SessionSection(Section):
    """What a session starts with; live clients may change it by `session.update`."""

    faces: int = Field(1, ge=1, le=64, description="Faces reported per frame, at most. Flag `--faces`.")
    hop: int | None = Field(
        None, ge=1, le=100_000, description="Every hop-th sampled frame gets a label; not set: the model's own. Flag `--hop`."
    )
    policy: Literal["latest", "all"] = Field(
        "latest", description="What live sessions do when behind: `latest` skips frames, `all` slows the sender."
    )
    max_fps: float = Field(60.0, gt=0, le=1000, description="Frames per second taken from one live source; more are dropped as `rate`.")


class Clips(Section):
    """What `/v1/clips` takes, where it lies, and how long results are kept."""

    directory: Path | None = Field(
        None,
        description="Queue, uploads, results; one server each. Not set: `mien/clips-PORT` in `$XDG_STATE_HOME`, else in `~/.local/state`.",
    )
    ttl_h: float = Field(24.0, gt=0, le=8760, description="Hours that results are kept. Uploads are deleted as soon as they are processed.")
    queue: int = Field(256, ge=1, le=100_000, description="Clips that may wait or run. More: 503.")
    max_bytes: int = Field(209_715_200, ge=1024, le=2**40, description="Largest clip, bytes. Larger: 413.")
    max_s: float = Field(600.0, gt=0, le=86_400, description="Longest clip, seconds.")
    max_frames: int = Field(18_000, ge=1, le=10_000_000, description="Most frames of a clip, announced or counted.")
    max_width: int = Field(4096, ge=16, le=16_384, description="Longer side of a picture, pixels.")
    max_height: int = Field(2304, ge=16, le=16_384, description="Shorter side of a picture, pixels.")
    min_fps: float = Field(1.0, ge=0, le=1000, description="Fewest frames per second.")
    max_fps: float = Field(120.0, gt=0, le=1000, description="Most frames per second.")
    min_bytes_per_s: int = Field(16_384, ge=0, le=2**30, description="Slowest upload, bytes per second over 5 s. Slower: 408.")
    stall_s: float = Field(20.0, gt=0, le=600, description="Seconds after which a decoder that gives no picture is taken for hung.")
    memory_bytes: int = Field(2**31, ge=2**29, le=2**40, description="Address space of a decoder, bytes.")


class Config(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", env_parse_none_str="none", protected_namespaces=()
    )

    server: Server = Field(default_factory=Server)
    model: Model = Field(default_factory=Model)
    engine: EngineSection = Field(default_factory=EngineSection)
    session: SessionSection = Field(default_factory=SessionSection)
    clips: Clips = Field(default_factory=Clips)
    cameras: dict[str, str] = Field(
        default_factory=dict,
        description='Cameras of this machine by name: `name = "URI"` (`webcam:0`, `video:clip.mp4?realtime=1&loop=1`, `rtsp://…`; '
        "`rig:FILE`, several as one). Flags `--camera NAME=URI`, `--rig FILE` (repeatable). "
        "A name is lower-case letters, digits, `-` and `_`.",
    )

    @field_validator("cameras")
    @classmethod
    def _cameras(cls, cameras: dict[str, str]) -> dict[str, str]:
        for name, uri in cameras.items():
            if not _CAMERA.fullmatch(name):
                raise ValueError(f"camera name {name!r} must be 1–64 lower-case letters, digits, '-' or '_', the first no sign")
            if not _URI.fullmatch(uri):
                raise ValueError(f"camera {name!r} needs a URI such as webcam:0 or rtsp://host/path")
        return cameras

    @model_validator(mode="after")
    def _seats(self) -> Config:
        count, seats = len(self.cameras), self.server.max_sessions
        if count > seats:
            raise ValueError(f"{count} cameras need a session each, but server.max_sessions is {seats}; raise it")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the caller alone; `load` brings in file and environment."""
        return (init_settings,)


def keys() -> Iterator[str]:
    """Yield every key as `section.key`; `cameras` stands for all cameras."""
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from (f"{name}.{key}" for key in field.annotation.model_fields)
        else:
            yield name


def variable(key: str) -> str:
    """Return the environment variable of a key: `server.port` → `MIEN_SERVER__PORT`."""
    return PREFIX + key.replace(".", "__").upper()


def load(file: Path | None = None, flags: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Return the effective configuration: `flags` over the environment over `file` (else MIEN_CONFIG's) over defaults.

    Raises:
        ConfigError: a source is unreadable, a key or variable unknown, or a value out of bounds.
    """
    named = os.environ.get(FILE_VARIABLE)
    path = file if file is not None else Path(named) if named else None
    layers: list[Layer] = [] if path is None else [(f"file {path}", _from_file(path))]
    layers += [("environment", _from_environment()), ("command line", flags or {})]
    merged: dict[str, Any] = {}
    for _, values in layers:
        merged = _over(merged, values)
    try:
        return Config(**merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, layers)) from error


def _from_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ConfigError(f"configuration file {path} does not exist; `mien config` prints one to start from")
    try:
        return TomlConfigSettingsSource(Config, path)()
    except OSError as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"configuration file {path} is not TOML: {error}") from error


def _from_environment() -> Mapping[str, Any]:
    known = {FILE_VARIABLE, *(variable(key) for key in keys())}
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known and not name.upper().startswith(f"{PREFIX}CAMERAS__"):
            raise ConfigError(f"unknown environment variable {name}; did you mean {_nearest(name.upper(), known)}? unset it or rename it")
    try:
        return EnvSettingsSource(Config)()
    except SettingsError as error:
        raise ConfigError(f"environment: {error}: a JSON object is needed there") from error


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with `above` laid over it, table by table."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _over(under, value) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return merged


def _nearest(word: str, known: set[str]) -> str:
    return max(sorted(known), key=lambda candidate: SequenceMatcher(None, word, candidate).ratio())


def _holds(values: object, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(values, Mapping) or step not in values:
            return False
        values = values[step]
    return True


def _explain(error: ValidationError, layers: list[Layer]) -> str:
    """Return the first error as one line: key, origin, what is wrong."""
    first, *others = error.errors(include_url=False)
    path = tuple(str(step) for step in first["loc"])[:2]
    key = ".".join(path)
    where = next((name for name, values in reversed(layers) if _holds(values, path)), "defaults")
    if where == "environment":
        where = f"environment variable {variable(key)}"
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        known = set(keys()) | set(Config.model_fields)
        return f"unknown key '{key}' in {where}; did you mean '{_nearest(key, known)}'?{more}"
    # A camera's URI may hold a password: never repeat it.
    said = first["msg"].removeprefix("Value error, ")
    if not path:
        return f"{said}{more}"
    value = "" if path[0] == "cameras" else f" = {first['input']!r}"
    return f"{key}{value} in {where}: {said[:1].lower()}{said[1:]}{more}"
