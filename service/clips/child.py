"""The disposable child: confines itself, waits for one clip, decodes it, ends. Run by `decoder.py` alone.

Owns the order of things: nothing of a stranger's file is read before the process has given up what it does not need, and
no picture is decoded before the header has been checked. It is started ahead of need, because imports take longer than
a refusal may. The clip is `clip` in the directory that the job names.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capture.container import open_clip, stamp_ns, video_stream
from capture.driver import Driver, EndOfStream, SourceError
from capture.drivers import video
from capture.image import ImageBroken, NotAnImage, image_size
from service.clips import pictures, sandbox
from service.clips.limits import ClipRefused, Limits
from service.clips.pictures import Kind, Picture, Said
from service.intake import Source, Still, is_image

CLIP = Path("clip")


def main() -> None:
    """Take one job from stdin and answer on stdout; `argv`: root of the packages, parent's pid, bytes of memory."""
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)  # libraries may print; what goes to the parent is ours alone
    offline = sandbox.confine(int(sys.argv[2]), int(sys.argv[3]))

    def put(data: memoryview) -> None:
        while data:
            data = data[os.write(out, data) :]

    line = sys.stdin.buffer.readline()
    if not line:
        return
    try:
        _run(json.loads(line), offline, put)
    except BrokenPipeError:
        return
    except ClipRefused as refused:
        pictures.write(put, Said(Kind.REFUSED, refused.members()))
    except SourceError as error:
        pictures.write(put, Said(Kind.REFUSED, {"code": error.code, "detail": str(error)}))
    except Exception as error:  # the top of this process: the parent logs it
        pictures.write(put, Said(Kind.FAILED, {"why": f"{type(error).__name__}: {error}"[:1000]}))


def _run(job: dict[str, Any], offline: bool, put: Any) -> None:
    os.chdir(job["directory"])
    limits = Limits(**job["limits"])
    still = is_image(CLIP)
    _check_image(limits) if still else _check_clip(limits)
    driver: Driver = Still(Source(CLIP, job["name"])) if still else video.create(str(CLIP), video.Options(), job["name"])
    info = driver.open()
    limits.check_size(info.width, info.height)
    pictures.write(put, Said(Kind.OPENED, {"offline": offline, "still": still, "info": asdict(info)}))
    while True:
        try:
            frames = driver.read()
        except EndOfStream:
            break
        for frame in frames:
            assert frame.data is not None
            pictures.write(put, Picture(frame.data, frame.device_t_ns, "corrupt" in frame.flags))  # type: ignore[arg-type]
    pictures.write(put, Said(Kind.ENDED, {}))


def _check_clip(limits: Limits) -> None:
    with open_clip(CLIP) as container:
        stream = video_stream(container, str(CLIP))
        duration_ns = stamp_ns(stream.duration, stream) if stream.duration else (container.duration or 0) * 1000
        limits.check_header(stream.codec_context.width, stream.codec_context.height, stream.frames, duration_ns)


def _check_image(limits: Limits) -> None:
    try:
        _, width, height = image_size(CLIP.read_bytes())
    except (ImageBroken, NotAnImage):
        return  # Still says what is wrong, or reads a format whose size OpenCV checks itself (`decoder.py` sets its limit)
    limits.check_size(width, height)
