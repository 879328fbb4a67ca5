"""FAULTS row 34: a wall clock that leaps by years changes neither order nor timeouts.

A preloaded library makes a child process see the wall clock leap between this year, the last and the next; its monotonic clock is true.
(Debian's faketime cannot: with a true monotonic clock, sleeping fails.)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

CC = shutil.which("cc")
LEAPING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static long leap(void) { static unsigned long n; return ((long)(__sync_fetch_and_add(&n, 1) / 7 % 3) - 1) * 31536000L; }
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int rc = real(id, t);
  if (id == CLOCK_REALTIME) t->tv_sec += leap();
  return rc;
}
int gettimeofday(struct timeval *t, void *zone) {
  struct timespec now; clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000; return 0;
}
time_t time(time_t *out) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); if (out) *out = now.tv_sec; return now.tv_sec; }
"""
CHILD = """
import json, time
from service.events import Event, Rejected, SourceEvent
from service.feed import FeedOptions
from service.live import LiveLoop
from service.rig_file import RigFile
from service.rigs import open_rig
from tests.api.tiny import Brightness, Shelf
from tests.live.test_live_loop import Heard
from tests.waiting import until
uris = {"color": "virtual:color?width=64&height=48&fps=30&faults=unplug@1.5+0.5", "depth": "virtual:depth?fps=30&offset_ms=300",
        "thermal": "virtual:thermal?fps=9&faults=late@0.8+0.5:1"}
rig = RigFile.model_validate({"sources": {name: {"modality": name, "uri": uri} for name, uri in uris.items()}})
loop, heard = LiveLoop(Shelf(), Brightness(), max_sessions=2), Heard()
loop.start()
leaps, wall = 0, time.time()
camera = open_rig(loop, "rig", rig, FeedOptions("tiny"), heard)
def enough():
    global leaps, wall
    now = time.time()
    leaps, wall = leaps + (abs(now - wall) > 1e7), now
    events = [o.message for o in heard.of(Event)]
    predicted = sum(bool(face.prediction) for event in events for face in event.faces)
    return leaps > 10 and len(heard.of(SourceEvent)) >= 2 and len(events) > 40 and predicted > 5
until(enough, "the camera is back and labels come", every_s=0.01)
camera.close()
loop.stop(60.0)
events = [o.message for o in heard.of(Event)]
print(json.dumps({
    "leaps": leaps, "frames": [e.frame for e in events], "times": [e.t_ns for e in events],
    "rejected": len(heard.of(Rejected)), "states": [(o.message.name, o.message.state) for o in heard.of(SourceEvent)],
    "predictions": sum(bool(f.prediction) for e in events for f in e.faces), "in_flight": camera.feed.ledger.counts().in_flight,
}))
"""


@pytest.mark.skipif(CC is None or sys.platform != "linux", reason="needs a C compiler: sudo apt-get install gcc libc6-dev")
def test_row_34_a_wall_clock_that_leaps_by_years_changes_nothing(tmp_path: Path, checkout: Path) -> None:
    library = tmp_path / "leaping.so"
    (tmp_path / "leaping.c").write_text(LEAPING)
    subprocess.run([str(CC), "-shared", "-fPIC", "-O1", "-o", str(library), str(tmp_path / "leaping.c"), "-ldl"], check=True, timeout=60)
    environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, env=environment, cwd=checkout, timeout=2 * PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert said["leaps"] > 10
    assert said["frames"] == sorted(set(said["frames"]))
    assert said["times"] == sorted(set(said["times"]))
    assert (said["rejected"], said["in_flight"]) == (0, 0)
    assert said["states"] == [["color", "lost"], ["color", "back"]]
    assert len(said["frames"]) > 40
    assert said["predictions"] > 5
