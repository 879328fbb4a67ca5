"""What every camera driver is, and how a URI becomes one.

Owns the protocol, the errors of sources, camera URIs and the lazy lookup of `capture/drivers/<name>.py`. Does not own any
device or thread. A URL's user, password, path and query are secrets: no error, log, repr or `SourceInfo` holds them.

A camera URI is `DRIVER:ADDRESS?key=value&…`, such as `webcam:0?width=1280` or `video:clip.mp4?loop=1` (percent-encode ?, & and
% in an address; `clip_uri` does), or a network URL, `rtsp://…#key=value&…`, whose query is the camera's and whose fragment is ours.
"""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from capture import drivers
from capture.frame import Frame, SourceInfo

URL_SCHEMES = ("rtsp", "rtsps", "http", "https")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_EXAMPLE = "a camera is DRIVER:ADDRESS?key=value, such as webcam:0 or video:clip.mp4?loop=1, or an rtsp:// URL"


class SourceError(Exception):
    """A source cannot be had, or is gone. `code` for programs; the text is one line for people and holds no credentials."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class EndOfStream(Exception):
    """The source had an end, and this was it."""


class Driver(Protocol):
    """A source of frames, used by one thread alone. `name`: what its frames are called.

    `open` returns what it learned (SourceError: why not). `read` returns frames taken together, or an empty list if there is
    nothing yet: within about a second, unless the device is hung, then within its time limit (EndOfStream: the end;
    SourceError: lost). After `close`, which never raises and may be called at any time but during a call, it may be opened again.
    """

    name: str

    def open(self) -> SourceInfo: ...
    def read(self) -> list[Frame]: ...
    def close(self) -> None: ...


@runtime_checkable
class Startable(Protocol):
    """A driver whose device may be `armed`: open, it gives no frames until it is told, by any thread, from which host monotonic time on,
    and none after it was told up to which."""

    armed: bool

    def start(self, at_ns: int | None = None) -> None: ...
    def stop(self, at_ns: int | None = None) -> None: ...


class DriverOptions(BaseModel):
    """What may follow a camera's address: frozen, unknown keys refused. A driver's `Options` adds fields of simple types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def create(uri: str, name: str = "camera") -> Driver:
    """Return the driver that `uri` names, not yet opened; its frames are called `name`.

    Raises:
        SourceError: "bad-uri", "bad-option", "unknown-driver", "driver-missing".
    """
    driver, address, given = _parsed(uri)
    module = _module(driver)
    created: Driver = module.create(address, _options(module.Options, given, driver), name)
    return created


def names() -> tuple[str, ...]:
    """Return the names of the drivers there are, sorted, importing none."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(drivers.__path__) if not module.name.startswith("_")))


def clip_uri(path: Path, **options: str | float | bool) -> str:
    """Return the camera URI of the clip at `path`, whatever characters its name has."""
    query = "&".join(f"{key}={quote(str(int(value) if isinstance(value, bool) else value))}" for key, value in options.items())
    return f"video:{quote(str(path))}" + (f"?{query}" if query else "")


def is_url(address: str) -> bool:
    """Return whether `address` is a network URL rather than a file's path."""
    return "://" in address and address.split("://", 1)[0].lower() in URL_SCHEMES


def shown(address: str) -> str:
    """Return what may be told of `address`: of a URL scheme, host and port only, for cameras keep passwords in all other parts."""
    if not is_url(address):
        return repr(address)
    scheme = address.split("://", 1)[0].lower()
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{scheme}://…"
    # An @ behind the host: what looks like host and port is the beginning of a password with a / in it.
    if not host or address.count("@") > parts.netloc.count("@"):
        return f"{scheme}://…"
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}{f':{port}' if port else ''}/…"


def _parsed(uri: str) -> tuple[str, str, list[tuple[str, str]]]:
    if is_url(uri):
        scheme, rest = "video", uri
    else:
        scheme, colon, rest = uri.partition(":")
        if not colon or not _NAME.fullmatch(scheme):
            # Not repeated here: it may hold a password.
            raise SourceError("bad-uri", f"a camera URI of {len(uri)} characters names no driver; {_EXAMPLE}")
    if "\0" in uri:
        raise SourceError("bad-uri", f"the camera URI for driver {scheme!r} has a NUL character in it; remove it")
    if is_url(rest):
        address, _, query = rest.partition("#")
        if shown(address).endswith("://…") or "@" in query:
            advice = "write rtsp://NAME:PASSWORD@host:554/path, with # / ? @ in a password as %23 %2F %3F %40"
            raise SourceError("bad-uri", f"the camera URL {address.split(':', 1)[0].lower()}://… cannot be understood; {advice}")
    else:
        address, _, query = rest.partition("?")
        address = unquote(address)
    return scheme, address, parse_qsl(query, keep_blank_values=True)


def _module(driver: str) -> Any:
    if driver not in names():
        raise SourceError("unknown-driver", f"no camera driver {driver!r}; there are: {', '.join(names())}")
    try:
        return import_module(f"{drivers.__name__}.{driver}")
    except ModuleNotFoundError as error:
        missing = error.name or "a package"
    raise SourceError("driver-missing", f"camera driver {driver!r} needs {missing}: pip install 'mien[{driver}]'")


def _options(schema: type[DriverOptions], given: list[tuple[str, str]], driver: str) -> DriverOptions:
    allowed = ", ".join(schema.model_fields) or "none"
    keys = [key for key, _ in given]
    for key in keys:
        if key not in schema.model_fields:
            raise SourceError("bad-option", f"camera driver {driver!r} has no option {key[:40]!r}; allowed: {allowed}")
        if keys.count(key) > 1:
            raise SourceError("bad-option", f"option {key!r} of camera driver {driver!r} is given {keys.count(key)} times; give it once")
    problem = ""
    try:
        return schema.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        problem = f"{field + ': ' if field else ''}{first['msg']}, not {str(dict(given).get(field, ''))[:40]!r}"
    raise SourceError("bad-option", f"camera driver {driver!r}, option {problem}; allowed options: {allowed}")
