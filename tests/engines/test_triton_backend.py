"""An inference server: refused when it is not there or serves something else, bounded in time, on shared memory or without."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from engines.engine import BackendLost, BackendMissing, EngineError, EngineOptions
from engines.folder import Folder, open_folder
from engines.open import open_engine
from exporters.targets.triton import write_repository
from tests.engines.graphs import feature_manifest, scaled, write_folder
from tests.tritonserver import ServerError, TritonServer

ONES = np.ones((2, 3), np.float32)


def tiny(place: Path, weights: tuple[float, ...] = (1.0, 2.0, 3.0), **changes: object) -> Folder:
    return open_folder(write_folder(place / "tiny", feature_manifest(**changes), {"full.onnx": scaled(weights)}))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """y = x · (1, 2, 3)."""
    made = tiny(tmp_path)
    try:
        open_engine(made, "full", EngineOptions("triton", url="127.0.0.1:1"))
    except BackendMissing as error:
        pytest.skip(str(error))
    except EngineError:
        pass
    return made


@contextmanager
def serving(folder: Folder, place: Path, apart: bool = False) -> Iterator[TritonServer]:
    write_repository(folder, place / "repository", "python")
    try:
        server = TritonServer(place / "repository", place / "log", apart)
        server.start()
    except ServerError as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.kill()


def test_nobody_there_is_said_at_once_with_the_address(folder: Folder) -> None:
    with pytest.raises(BackendLost, match=r"^tiny/full: the server at 127\.0\.0\.1:1 does not answer; start it, or set engine\.url: "):
        open_engine(folder, "full", EngineOptions("triton", url="127.0.0.1:1"))


def test_an_address_that_takes_connections_and_says_nothing_is_given_up(folder: Folder) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = monotonic()
        with pytest.raises(BackendLost):
            open_engine(folder, "full", EngineOptions("triton", url=f"127.0.0.1:{silent.getsockname()[1]}"))
        assert monotonic() - began < 5 * 2.0


def test_another_protocol_there_is_an_error(folder: Folder) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def speak() -> None:
            for _ in range(8):
                try:
                    met, _ = other.accept()
                except OSError:
                    return
                with met:
                    met.sendall(b"220 ready\r\n")

        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        with pytest.raises(EngineError):
            open_engine(folder, "full", EngineOptions("triton", url=f"127.0.0.1:{other.getsockname()[1]}"))
        other.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize(
    ("wish", "said"),
    [({"precision": "bf16"}, "leave out precision bf16"), ({"providers": ("CPUExecutionProvider",)}, "leave out providers CPU")],
)
def test_what_is_the_servers_choice_is_refused(folder: Folder, wish: dict[str, object], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        open_engine(folder, "full", EngineOptions("triton", **wish))  # type: ignore[arg-type]


@pytest.mark.proof
def test_what_is_served_must_be_what_the_manifest_says(folder: Folder, tmp_path: Path) -> None:
    with serving(folder, tmp_path / "served") as server:
        options = EngineOptions("triton", url=server.url)
        np.testing.assert_array_equal(open_engine(folder, "full", options).run({"x": ONES})["y"], [[1, 2, 3]] * 2)
        other = tiny(tmp_path / "other", (3.0, 2.0, 1.0))
        ours, theirs = (hashlib.sha256(f.graph_bytes("full")).hexdigest()[:12] for f in (other, folder))
        with pytest.raises(EngineError, match=f"was made of another graph: its sha256 is {theirs}…, this folder's {ours}…"):
            open_engine(other, "full", options)
        absent = tiny(tmp_path / "absent", id="absent")
        with pytest.raises(BackendLost, match="does not serve absent-full; have it load what mien-export triton writes"):
            open_engine(absent, "full", options)


@pytest.mark.proof
@pytest.mark.parametrize("apart", [False, True], ids=["one shared memory", "two"])
def test_tensors_go_through_shared_memory_where_both_see_it(folder: Folder, tmp_path: Path, apart: bool) -> None:
    before = set(Path("/dev/shm").glob("mien-*"))
    with serving(folder, tmp_path / "served", apart) as server:
        engine = open_engine(folder, "full", EngineOptions("triton", url=server.url))
        assert engine.info.version.endswith("bytes in the request" if apart else "shared memory")
        for rows in (1, 16, 3):  # the block grows, then is used in part
            x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
            np.testing.assert_array_equal(engine.run({"x": x})["y"], x * (1, 2, 3))
        # More rows than the server's max_batch_size: it says so, and serves on.
        with pytest.raises(EngineError, match="refuses: ") as caught:
            engine.run({"x": np.ones((17, 3), np.float32)})
        assert not isinstance(caught.value, BackendLost)
        assert engine.run({"x": ONES})
        engine.close()
        assert {path for path in Path("/dev/shm").glob("mien-*") if not path.name.startswith("mien-test-")} <= before


@pytest.mark.proof
def test_a_server_started_anew_unnoticed_is_a_loss_and_a_lost_engine_stays_lost(folder: Folder, tmp_path: Path) -> None:
    """Between two runs: it knows nothing of the memory it was told about, and perhaps not the same model any more."""
    with serving(folder, tmp_path / "served") as server:
        engine = open_engine(folder, "full", EngineOptions("triton", url=server.url))
        server.kill()
        server.start()
        for _ in range(2):
            with pytest.raises(BackendLost):
                engine.run({"x": ONES})
        engine.close()
        np.testing.assert_array_equal(
            open_engine(folder, "full", EngineOptions("triton", url=server.url)).run({"x": ONES})["y"][0], (1, 2, 3)
        )
