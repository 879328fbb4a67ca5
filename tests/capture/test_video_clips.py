"""Real clips, stamped exactly; bad clips, refused in one line; and no file opened but the one that was named."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from capture.driver import EndOfStream, SourceError, clip_uri
from capture.drivers.video import Options, VideoDriver, create
from capture.frame import Frame


def driver(path: Path, **options: object) -> VideoDriver:
    return create(str(path), Options.model_validate(options), "clip")


def frames(source: VideoDriver, most: int = 1000) -> list[Frame]:
    source.open()
    got: list[Frame] = []
    while len(got) < most:
        try:
            got += source.read()
        except EndOfStream:
            break
    source.close()
    return got


def refused(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        driver(path).open()
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return caught.value


def stamps(got: list[Frame]) -> list[int]:
    return [frame.device_t_ns for frame in got if frame.device_t_ns is not None]


def test_a_real_clip_has_its_frames_at_their_times(media: Path) -> None:
    source = driver(media / "single_face.mp4")
    info = source.open()
    assert (info.name, info.driver, info.modality, info.width, info.height) == ("clip", "video", "color", 640, 360)
    assert (info.fps, info.clock, info.ends, info.frames, info.duration_ns) == (30.0, "media", True, 72, 2_400_000_000)
    got = frames(source)
    assert [frame.seq for frame in got] == list(range(1, 73))
    assert stamps(got) == [round(Fraction(n * 10**9, 30)) for n in range(72)]
    for frame in got:
        assert frame.data is not None
        assert frame.data.shape == (360, 640, 3)
        assert frame.data.dtype == np.uint8
        assert not frame.data.flags.writeable
    assert (source.packets, source.decoded, source.corrupt) == (72, 72, 0)


@pytest.mark.parametrize(
    ("name", "packets", "shown"), [("no_face.mp4", 98, 95), ("face_noface.mov", 169, 169), ("noface_face.mov", 169, 169)]
)
def test_packets_are_what_the_container_announced_and_an_edit_list_hides_some(media: Path, name: str, packets: int, shown: int) -> None:
    source = driver(media / name)
    got = frames(source)
    assert source.packets == source.open().frames == packets
    assert len(got) == shown
    assert stamps(got)[0] == 0
    assert stamps(got) == sorted(set(stamps(got)))


def test_stamps_are_exact_at_ntsc_rates(media: Path) -> None:
    got = stamps(frames(driver(media / "WolfgangLanger_Pexels.mp4")))
    assert got == [round(Fraction(n * 1001 * 10**9, 24000)) for n in range(472)]


def test_a_loop_goes_on_where_the_clip_ended(media: Path) -> None:
    source = driver(media / "single_face.mp4", loop=True)
    info = source.open()
    assert (info.ends, info.frames, info.duration_ns) == (False, None, None)
    got = frames(source, most=200)
    assert stamps(got) == [2_400_000_000 * (n // 72) + round(Fraction(n % 72 * 10**9, 30)) for n in range(200)]
    assert [frame.seq for frame in got] == list(range(1, 201))
    for one, again in ((0, 72), (71, 143)):
        assert np.array_equal(got[one].data, got[again].data)  # type: ignore[arg-type]


def test_in_real_time_a_frame_comes_when_its_stamp_says(media: Path) -> None:
    began = time.monotonic_ns()
    got = frames(driver(media / "single_face.mp4", realtime=True), most=16)
    assert time.monotonic_ns() - began >= 490_000_000
    # Never early, counted from before the clip was opened; how late is the machine's affair.
    assert all(frame.arrival_t_ns - began >= stamp - 1_000_000 for frame, stamp in zip(got, stamps(got), strict=True))


def test_two_runs_are_the_same_bytes(media: Path) -> None:
    one, two = (frames(driver(media / "face_noface.mov"), most=20) for _ in range(2))
    many = frames(driver(media / "face_noface.mov", threads=0), most=20)
    for a, b, c in zip(one, two, many, strict=True):
        assert np.array_equal(a.data, b.data)  # type: ignore[arg-type]
        assert np.array_equal(a.data, c.data)  # type: ignore[arg-type]


ROTATIONS = {  # a, b, c, d of the track header's matrix, and what must become of the picture
    "as-is": ((1, 0, 0, 1), lambda x: x),
    "portrait": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "upside-down": ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "other-portrait": ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda x: x[::-1]),
    "transposed": ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", ROTATIONS)
def test_a_phone_clip_is_set_upright(media: Path, tmp_path: Path, name: str) -> None:
    (a, b, c, d), turned = ROTATIONS[name]
    data = bytearray((media / "single_face.mp4").read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 20 + 16
    assert struct.unpack(">9i", data[at : at + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    (clip := tmp_path / "phone.mp4").write_bytes(data)
    source = driver(clip)
    info = source.open()
    plain = frames(driver(media / "single_face.mp4"), most=1)[0].data
    got = source.read()[0].data
    assert plain is not None
    assert got is not None
    assert np.array_equal(got, turned(plain))
    assert (info.height, info.width) == got.shape[:2]
    assert got.flags.c_contiguous


def test_bad_clips_are_refused(media: Path, tmp_path: Path) -> None:
    whole = (media / "single_face.mp4").read_bytes()
    bad = {
        "zero.mp4": (b"", "empty-clip"),
        "cut.mp4": (whole[: len(whole) // 2], "clip-unreadable"),  # its moov comes last
        "nomoov.mp4": (whole.replace(b"moov", b"none"), "clip-unreadable"),
        "text.mp4": (b"this is no clip\n" * 99, "unsupported-container"),
        "tiny.mp4": (b"\x00", "unsupported-container"),
        "header.avi": (b"RIFF\x00\x00\x00\x00AVI LIST", "clip-unreadable"),
        "header.mkv": (b"\x1a\x45\xdf\xa3", "clip-unreadable"),
        "picture.mp4": ((media / "multi_face.jpg").read_bytes(), "unsupported-container"),
    }
    for name, (data, code) in bad.items():
        (tmp_path / name).write_bytes(data)
        assert refused(tmp_path / name).code == code, name
    assert refused(tmp_path / "nothing.mp4").code == "no-such-file"
    (tmp_path / "folder.mp4").mkdir()
    assert refused(tmp_path / "folder.mp4").code == "clip-unreadable"
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would wait for ever
    assert refused(tmp_path / "pipe.mp4").code == "clip-unreadable"


def test_a_clip_of_sound_alone_has_no_picture(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 48_000
        container.mux([*stream.encode(silence), *stream.encode(None)])
    assert "no video stream (streams: audio)" in str(refused(tmp_path / "sound.mp4"))


def test_no_other_file_and_no_socket_is_opened(media: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trap.mp4")  # whoever opens it hangs: that this test ends is the proof
    shutil.copy(media / "single_face.mp4", tmp_path / "real.mp4")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        web = f"http://127.0.0.1:{server.getsockname()[1]}/clip.mp4"
        sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {server.getsockname()[1]} RTP/AVP 26\n"
        for target in ("trap.mp4", "real.mp4", str(tmp_path / "trap.mp4"), f"file:{tmp_path}/real.mp4", web):
            evil = {
                "concat.mp4": f"ffconcat version 1.0\nfile '{target}'\n",
                "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
                "hls.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
                "sdp.mp4": sdp,
                "dash.mp4": f'<?xml version="1.0"?><MPD type="static"><Period><BaseURL>{target}</BaseURL></Period></MPD>',
                "disguised.mp4": f"\0\0\0\x18ftypisom\n#EXTM3U\n#EXTINF:10,\n{target}\n",
            }
            for name, text in evil.items():
                (tmp_path / name).write_text(text)
                assert refused(tmp_path / name).code == ("clip-unreadable" if name == "disguised.mp4" else "unsupported-container")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_ffmpeg_itself_holds_to_the_white_lists(tmp_path: Path) -> None:
    # Behind our look at the content stands ffmpeg's own list: it must refuse even what it would have recognised.
    (tmp_path / "x.ffconcat").write_text("ffconcat version 1.0\nfile 'trap.mp4'\n")
    os.mkfifo(tmp_path / "trap.mp4")
    with pytest.raises(av.error.ArgumentError):
        av.open(str(tmp_path / "x.ffconcat"), "r", options={"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2", "protocol_whitelist": "file"})


def test_a_name_is_never_a_protocol(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp4", "http:clip.mp4", "-i.mp4", "a?b#c%20.mp4", "%d.mp4"):
        shutil.copy(media / "single_face.mp4", name)
        assert len(frames(driver(Path(name)), most=2)) == 2
        assert clip_uri(Path(name)).startswith("video:")


def test_a_damaged_clip_gives_what_can_be_decoded_and_says_so(media: Path, tmp_path: Path) -> None:
    data = bytearray((media / "single_face.mp4").read_bytes())
    random = np.random.default_rng(0)
    for at in range(60_000, 120_000, 997):
        data[at] = int(random.integers(256))
    (clip := tmp_path / "damaged.mp4").write_bytes(data)
    source = driver(clip)
    one, two = frames(source), frames(driver(clip))
    assert 0 < len(one) <= 72
    assert source.corrupt > 0
    assert sum("corrupt" in frame.flags for frame in one) > 0
    assert all(np.array_equal(a.data, b.data) for a, b in zip(one, two, strict=True))  # type: ignore[arg-type]


def rewritten(source: Path, target: Path, options: dict[str, str] | None = None) -> Path:
    """Copy the packets of `source`'s video into another container."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options or {}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


@pytest.mark.parametrize("extension", ["mkv", "ts", "mov"])
def test_other_containers_give_the_same_pictures(media: Path, tmp_path: Path, extension: str) -> None:
    got = frames(driver(rewritten(media / "single_face.mp4", tmp_path / f"clip.{extension}")))
    plain = frames(driver(media / "single_face.mp4"))
    assert len(got) == 72
    assert stamps(got)[0] == 0
    assert max(abs(a - b) for a, b in zip(stamps(got), stamps(plain), strict=True)) <= 1_000_000  # Matroska counts in ms
    assert all(np.array_equal(a.data, b.data) for a, b in zip(got, plain, strict=True))  # type: ignore[arg-type]


def test_an_avi_has_stamps_too(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index, np.uint8), "rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert stamps(frames(driver(tmp_path / "clip.avi"))) == [40_000_000 * n for n in range(20)]


def test_a_clip_cut_off_mid_stream_is_known_by_its_packets(media: Path, tmp_path: Path) -> None:
    whole = rewritten(media / "single_face.mp4", tmp_path / "whole.mp4", {"movflags": "faststart"}).read_bytes()
    (clip := tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    source = driver(clip)
    announced = source.open().frames
    got = frames(source)
    assert announced == 72
    assert 0 < len(got) < 72
    assert source.packets < announced


def test_a_size_that_changes_mid_stream_goes_on_as_it_is(tmp_path: Path) -> None:
    pictures = []
    for size in (64, 96):
        with av.open(str(tmp_path / f"{size}.ts"), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            for index in range(10):
                frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), 20 * index, np.uint8), "rgb24")
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        pictures.append((tmp_path / f"{size}.ts").read_bytes())
    (clip := tmp_path / "both.ts").write_bytes(b"".join(pictures))
    sizes = {frame.data.shape for frame in frames(driver(clip)) if frame.data is not None}
    assert sizes == {(64, 64, 3), (96, 96, 3)}
