"""Row 4: 8192×4320 × 300 frames in little more than 100 KB: twelve gigabytes, decoded."""

from __future__ import annotations

from pathlib import Path

from tests.clips import made
from tests.clips.at_work import ClipServer


def test_it_is_refused_by_its_header(clip_server: ClipServer, tmp_path: Path) -> None:
    clip = made.repeated(tmp_path / "huge.mp4", 300, (8192, 4320))
    assert clip.stat().st_size < 214_000
    answer = clip_server.send(clip, "?wait=60")
    assert (answer.status, answer.code) == (422, "clip-limits-exceeded")
    assert (answer.json["limit"], answer.json["actual"]) == (4096, 8192)
    assert "8192x4320" in answer.json["detail"]


def test_so_is_a_huge_picture(clip_server: ClipServer) -> None:
    # A PNG of 30000×30000 black pixels, by its header; what follows would not even have to be there.
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + bytes(64)
    answer = clip_server.send(png, "?wait=30")
    assert (answer.status, answer.code) == (422, "clip-limits-exceeded")
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(64)
    answer = clip_server.send(bmp, "?wait=30")
    assert (answer.status, answer.code in ("clip-limits-exceeded", "image-broken")) == (422, True)
