"""A network camera for tests: RTSP over TCP (RTP interleaved) for one client at a time, from a clip's H.264.

Source: RFC 2326 (RTSP), RFC 3550 (RTP), RFC 6184 (H.264 payload; single NAL units and FU-A).
"""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType

import av

_MTU = 1400
_RATE = 30


class RtspServer:
    """Serve `clip`'s video in a loop: first `backlog` frames at once, then 30 a second. `cut` ends a client's connection.

    `login`: "name:password" asked for as Basic authentication. `mute`: answer nothing at all.
    """

    def __init__(self, clip: Path, backlog: int = 0, login: str | None = None, mute: bool = False) -> None:
        self._units = _access_units(clip)
        self._backlog, self._login, self._mute = backlog, login, mute
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._sequence = 0
        self.authorized: list[str] = []
        self._client: socket.socket | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RtspServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        # close() alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.cut()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def cut(self) -> None:
        """End the present client's connection."""
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                self._client, _ = self._socket.accept()
            except OSError:
                return
            with self._client, contextlib.suppress(OSError):
                self._converse(self._client)

    def _converse(self, client: socket.socket) -> None:
        received = b""
        while chunk := client.recv(4096):
            received += chunk
            while not self._mute and b"\r\n\r\n" in received:
                request, received = received.split(b"\r\n\r\n", 1)
                if self._answer(client, request.decode()):
                    self._stream(client)
                    return

    def _answer(self, client: socket.socket, request: str) -> bool:
        method = request.split(" ", 1)[0]
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in request.split("\r\n")[1:])}
        status, extra, body = "200 OK", [], ""
        if self._login is not None and method != "OPTIONS":
            expected = "Basic " + base64.b64encode(self._login.encode()).decode()
            if headers.get("authorization") != expected:
                status, extra = "401 Unauthorized", ['WWW-Authenticate: Basic realm="camera"']
            else:
                self.authorized.append(method)
        if status == "200 OK":
            if method == "DESCRIBE":
                body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
                body += "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"
                extra = ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                extra = ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers['cseq']}", "Session: 1", *extra, "", body]
        client.sendall("\r\n".join(lines).encode())
        return method == "PLAY" and status == "200 OK"

    def _stream(self, client: socket.socket) -> None:
        client.sendall(b"".join(self._packets(index) for index in range(self._backlog)))
        began = time.monotonic()
        index = self._backlog
        while not self._stop.is_set():
            time.sleep(max(0.0, began + (index - self._backlog) / _RATE - time.monotonic()))  # a camera's rate
            client.sendall(self._packets(index))
            index += 1

    def _packets(self, index: int) -> bytes:
        stamp, nals = self._units[index % len(self._units)]
        stamp += index // len(self._units) * len(self._units) * 90_000 // _RATE
        payloads = [part for nal in nals for part in _payloads(nal)]
        sent = b""
        for number, payload in enumerate(payloads):
            marker = 0x80 if number == len(payloads) - 1 else 0
            header = struct.pack(">BBHII", 0x80, marker | 96, self._sequence & 0xFFFF, stamp & 0xFFFFFFFF, 1)
            sent += struct.pack(">cBH", b"$", 0, len(header) + len(payload)) + header + payload
            self._sequence += 1
        return sent


def _access_units(clip: Path) -> list[tuple[int, list[bytes]]]:
    """Return each frame's stamp (1/90000 s) and NAL units, in decoding order, parameter sets in front of every key frame."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        annexb = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [out for packet in container.demux(stream) if packet.size for out in annexb.filter(packet)]
        units = []
        for packet in packets:
            assert packet.pts is not None
            nals = [nal for nal in bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if nal]
            units.append((round(packet.pts * packet.time_base * 90_000), nals))
        return units


def _payloads(nal: bytes) -> list[bytes]:
    if len(nal) <= _MTU:
        return [nal]
    pieces = [nal[1:][at : at + _MTU] for at in range(0, len(nal) - 1, _MTU)]
    indicator, kind, last = nal[0] & 0xE0 | 28, nal[0] & 0x1F, len(pieces) - 1
    return [bytes([indicator, (0x80 if n == 0 else 0) | (0x40 if n == last else 0) | kind]) + piece for n, piece in enumerate(pieces)]
