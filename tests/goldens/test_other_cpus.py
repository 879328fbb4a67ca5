"""The goldens hold on other CPUs: clips are run under Debian's qemu-user, which emulates one, with what it has and
lacks.

An emulated CPU runs other kernels of ONNX Runtime, OpenBLAS, OpenCV and FFmpeg than this one does, and rounds
otherwise.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.goldens import record
from tests.goldens.compare import compare

EMULATOR = "qemu-x86_64"
FORCING = ("OPENBLAS_", "OPENCV_CPU_", "NPY_")
"""Variables by which libraries learn which kernels to take."""
CPUS = {
    # Intel, 2008: SSE4.2 and nothing wider, the least that NumPy's wheels run on.
    "Nehalem": ("single_face.mp4", None, {"avx": False, "avx2": False, "avx512": False}),
    # Intel, 2013: AVX2 and FMA. The first 80 frames have 17 windows.
    "Haswell": ("WolfgangLanger_Pexels.mp4", 80, {"avx": True, "avx2": True, "avx512": False}),
    # AMD, 2017: AVX2 as well, of the other maker. The face is gone after frame 72.
    "EPYC": ("face_noface.mov", 84, {"avx": True, "avx2": True, "avx512": False}),
}


@pytest.fixture(scope="session")
def emulator() -> str:
    """The emulator; in CI it must be there."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        here = f"{sys.platform} {platform.machine()}"
        pytest.skip(f"{EMULATOR} runs Linux programs for x86-64; this Python is one for {here}: run it there")
    found = shutil.which(EMULATOR)
    if found is None:
        assert not os.environ.get("CI"), f"{EMULATOR} is missing; .ci/run installs Debian's qemu-user"
        pytest.skip(f"{EMULATOR} is missing: apt-get install qemu-user")
    return found


@pytest.mark.proof
@pytest.mark.parametrize("cpu", CPUS)
def test_a_golden_holds_on_another_cpu(emulator: str, media: Path, checkout: Path, cpu: str) -> None:
    clip, frames, has = CPUS[cpu]
    command = [
        emulator,
        "-cpu",
        cpu,
        sys.executable,
        "-m",
        "tests.goldens.record",
        clip,
        *([str(frames)] if frames else []),
    ]
    # What tells a library which kernels to take would undo the emulation.
    env = {name: value for name, value in os.environ.items() if not name.startswith(FORCING)}
    env["TEST_MEDIA"] = str(media.resolve())
    ran = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=1500, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    cpu_has, *lines = ran.stdout.splitlines()
    assert json.loads(cpu_has) == has
    found = [json.loads(text) for text in lines]
    kept = record.kept_events(clip)
    if frames:
        kept = [event for event in kept if event["type"] == "result" and event["frame"] <= frames]
    difference = compare(found, kept)
    print(f"{cpu}, {clip}: {difference.share:.4f} of the keyframes equal; {difference.moved}; {difference.largest}")
    assert difference.faults == ()
