"""Row 8: wrong types and malformed multipart. What a part says of itself counts for nothing, its content for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips.at_work import Answer, ClipServer, multipart

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'


def _post(server: ClipServer, body: bytes, kind: str = "multipart/form-data; boundary=b") -> Answer:
    return server.request("POST", "/v1/clips?wait=30", body, {"Content-Type": kind})


def test_content_decides(clip_server: ClipServer, media: Path) -> None:
    picture = (media / "single_face.jpg").read_bytes()
    assert clip_server.send(picture, "?wait=30", name="holiday.mp4").status == 200
    assert clip_server.send(b"%PDF-1.7 and so on", "?wait=30", name="clip.mp4").code == "unsupported-container"
    kind, body = multipart(picture, "a.exe")
    body = body.replace(b"\r\n\r\n", b"\r\nContent-Type: application/x-msdownload\r\n\r\n", 1)
    assert _post(clip_server, body, kind).status == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"not multipart at all", "multipart/form-data; boundary=b"),
        (HEAD + b"cut", "multipart/form-data; boundary=b"),
        (HEAD + b"x\r\n--b--\r\n", "multipart/form-data"),
        (HEAD + b"x\r\n--b--\r\n", "multipart/form-data; boundary=other"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)
def test_what_is_malformed_is_a_bad_request(clip_server: ClipServer, body: bytes, kind: str) -> None:
    answer = _post(clip_server, body, kind)
    assert (answer.status, answer.code) == (400, "bad-multipart")


@pytest.mark.parametrize("kind", ["application/json", "video/mp4", ""])
def test_other_types_of_body_are_not_taken(clip_server: ClipServer, kind: str) -> None:
    answer = _post(clip_server, b"{}", kind)
    assert (answer.status, answer.code) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "body",
    [
        b'--b\r\nContent-Disposition: form-data; name="clip"\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="options"\r\n\r\n{}\r\n--b--\r\n',
        HEAD + b"x\r\n" + HEAD + b"y\r\n--b--\r\n",
        HEAD + b'x\r\n--b\r\nContent-Disposition: form-data; name="depth"\r\n\r\ny\r\n--b--\r\n',
        HEAD + b'x\r\n--b\r\nContent-Disposition: form-data; name="options"\r\n\r\n{"hop":\r\n--b--\r\n',
        HEAD + b'x\r\n--b\r\nContent-Disposition: form-data; name="options"\r\n\r\n\xff\xfe\r\n--b--\r\n',
        HEAD + b'x\r\n--b\r\nContent-Disposition: form-data; name="options"\r\n\r\n' + b" " * 70_000 + b"\r\n--b--\r\n",
    ],
)
def test_parts_that_are_not_wanted_are_named(clip_server: ClipServer, body: bytes) -> None:
    answer = _post(clip_server, body)
    assert (answer.status, answer.code) == (422, "invalid-parameter")
