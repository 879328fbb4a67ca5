"""`mien node`: this machine's cameras for another one.

Owns its flags and what may be bound. Does not own the server (`service/node.py`).
"""

from __future__ import annotations

import ipaddress
import logging
import re
import signal
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.commands.telling import Usage, told

_NAMED = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})=(.+)", re.DOTALL)
_SHORTEST_TOKEN = 16


def node(
    camera: Annotated[
        list[str], typer.Option("--camera", metavar="[NAME=]URI", help="Camera to serve; its name, if not given, is `camera`; repeatable.")
    ],
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to bind; beyond this machine a token is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="TCP port; 0 takes any free one.")] = 8766,
    token_file: Annotated[Path | None, typer.Option("--token-file", metavar="FILE", help="Holds the token that clients need.")] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate (PEM), for wss.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key (PEM).")] = None,
    quality: Annotated[int, typer.Option("--quality", metavar="N", min=1, max=100, help="JPEG quality, for colour pixels only.")] = 95,
) -> None:
    """Serve this machine's cameras to `remote://HOST:PORT/NAME` on another one."""
    with told():
        cameras = _cameras(camera)
        token = None if token_file is None else _token(token_file)
        if token is None and not _inside(host):
            raise Usage(f"--host {host} can be reached from outside: it needs --token-file, or anybody could watch")
        tls = _tls(tls_cert, tls_key)
        if tls is None and not _inside(host):
            typer.echo("note: without --tls-cert pictures and token travel in the open; use it beyond a cable of your own", err=True)
        from service.node import Node, NodeOptions

        logging.basicConfig(format="%(message)s")
        logging.getLogger("mien.node").setLevel(logging.INFO)
        try:
            server = Node(cameras, host, port, NodeOptions(token, quality), tls)
        except OSError as error:
            raise Usage(f"{host} port {port} cannot be bound: {error.strerror}; choose another with --port (0: any free one)") from None
        place = f"{f'[{host}]' if ':' in host else host}:{server.port}"
        for name in cameras:
            typer.echo(f"camera {name}: remote://{place}/{name}{'?tls=1' if tls else ''} (Ctrl+C ends)")
        stop = threading.Event()
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        serving = threading.Thread(target=server.run, name="node", daemon=True)
        serving.start()
        try:
            while serving.is_alive() and not stop.wait(0.2):
                pass
        finally:
            server.close()
            for number, handler in before.items():
                signal.signal(number, handler)


def _cameras(given: Sequence[str]) -> dict[str, str]:
    cameras: dict[str, str] = {}
    for text in given:
        named = _NAMED.fullmatch(text)
        name, uri = (named[1], named[2]) if named else ("camera", text)
        if name in cameras:
            raise Usage(f"--camera {name} is given twice; name them: --camera NAME=URI")
        cameras[name] = uri
    return cameras


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not text"
        raise Usage(f"--token-file {file}: {why}") from None
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise Usage(f"--token-file {file}: a token is one line of at least {_SHORTEST_TOKEN} ASCII signs; `openssl rand -hex 32` makes one")
    return token


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise Usage("--tls-cert and --tls-key go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise Usage(f"--tls-cert {cert}, --tls-key {key}: {error.strerror or error}") from None
    return context


def _inside(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
