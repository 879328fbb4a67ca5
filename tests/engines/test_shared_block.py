"""Memory shared with a server: every tensor has its place, and nothing is left behind."""

from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.manifest import Tensor
from engines.shared_block import SharedBlock

SHAPES = st.lists(
    st.tuples(st.sampled_from(["uint8", "float32", "int64"]), st.lists(st.integers(1, 5), max_size=3)), min_size=1, max_size=4
)


@given(shapes=SHAPES, room=st.integers(1, 6), data=st.data())
def test_what_is_written_is_read_by_name(shapes: list[tuple[str, list[int]]], room: int, data: st.DataObject) -> None:
    tensors = [Tensor(name=f"t{i}", dtype=dtype, shape=tuple(shape)) for i, (dtype, shape) in enumerate(shapes)]  # type: ignore[arg-type]
    rows = data.draw(st.integers(1, room))
    rng = np.random.default_rng(0)
    arrays = {t.name: rng.integers(0, 100, (rows, *t.shape)).astype(t.dtype) for t in tensors}
    block = SharedBlock(tensors, room)
    try:
        block.write(arrays)
        found = block.read([t.name for t in tensors], rows)
        other = SharedMemory(block.name)
        seen = bytes(other.buf)
        other.close()
    finally:
        block.close()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.owndata
        start = block.offsets[name]
        assert seen[start : start + block.size(name, rows)] == array.tobytes(), "where the server is told to look"
    assert all(offset % 64 == 0 for offset in block.offsets.values())


def test_closed_it_is_gone() -> None:
    block = SharedBlock([Tensor(name="x", dtype="float32", shape=(3,))], 2)
    assert Path("/dev/shm", block.name).exists()
    block.close()
    block.close()
    assert not Path("/dev/shm", block.name).exists()


def test_what_does_not_fit_is_not_written() -> None:
    block = SharedBlock([Tensor(name="x", dtype="uint8", shape=(3,))], 2)
    with pytest.raises(TypeError):
        block.write({"x": np.ones((1, 3), np.float32)})
    block.close()
