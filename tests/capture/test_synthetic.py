"""The same pictures at every run, the count asked for, and time as it says."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from capture.driver import Driver, EndOfStream, create
from capture.drivers.synthetic import Options, SyntheticDriver
from capture.frame import Frame


def frames(driver: Driver) -> list[Frame]:
    driver.open()
    got: list[Frame] = []
    while True:
        try:
            got += driver.read()
        except EndOfStream:
            return got


def test_the_same_options_give_the_same_pictures() -> None:
    uri = "synthetic:?width=160&height=90&count=20&realtime=0&faces=3&seed=7"
    one, two = frames(create(uri)), frames(create(uri))
    assert [f.seq for f in one] == list(range(1, 21))
    assert [f.device_t_ns for f in one] == [round(n * 1e9 / 30) for n in range(20)]
    for a, b in zip(one, two, strict=True):
        assert a.data is not None
        assert b.data is not None
        assert a.data.shape == (90, 160, 3)
        assert a.data.dtype == np.uint8
        assert not a.data.flags.writeable
        assert np.array_equal(a.data, b.data)
    assert len({f.data.tobytes() for f in one if f.data is not None}) == 20


def test_faces_move_within_the_picture() -> None:
    driver = SyntheticDriver(Options(width=320, height=180, faces=5, seed=3), "cam")
    paths = np.stack([driver.boxes(index) for index in range(500)])
    assert paths.min() >= 0
    assert (paths[..., 0] + 45).max() <= 180
    assert (paths[..., 1] + 40).max() <= 320
    assert (np.ptp(paths, axis=0) > 0).all()


def test_real_time_is_real() -> None:
    began = time.monotonic()
    got = frames(create("synthetic:?width=64&height=48&fps=50&count=11"))
    assert time.monotonic() - began >= 0.19
    assert all(a.arrival_t_ns <= b.arrival_t_ns for a, b in itertools.pairwise(got))


def test_it_begins_again_and_counts_on() -> None:
    driver = create("synthetic:?width=64&height=48&count=3&realtime=0")
    assert [f.seq for f in frames(driver) + frames(driver)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(EndOfStream):
        driver.read()
