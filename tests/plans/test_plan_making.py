"""Plans are built in a child by the real compiler (TensorRT for RTX, which needs no GPU), kept, found, and built again at need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.engine import BackendMissing, EngineError
from engines.folder import Folder, open_folder
from engines.plans import making, sdk
from engines.plans.build import Phases, Profile, build
from engines.plans.cache import PlanCache
from engines.plans.making import Plan, plan_for
from engines.plans.passport import Identity
from engines.plans.sdk import Sdk
from tests.engines.graphs import expression_manifest, expressive, write_folder
from tests.waiting import PATIENCE_S

CARD = ("SM89",)


@pytest.fixture
def kit() -> Sdk:
    try:
        return sdk.load(sdk.RTX)
    except BackendMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder(write_folder(tmp_path / "moods", expression_manifest(), {"frame.onnx": expressive()}))


def wanted(kit: Sdk, folder: Folder, device: str = "a card") -> Identity:
    return making.identity(
        folder.graph_bytes("frame"), sdk=kit.name, version=kit.version, capability="8.9", device=device, platform=sdk.here(), largest=4
    )


def made(kit: Sdk, folder: Folder, cache: PlanCache, told: list[str] | None = None, device: str = "a card") -> Plan:
    said = [] if told is None else told
    data, graph = folder.graph_bytes("frame"), folder.manifest.graphs["frame"]
    return plan_for(cache, wanted(kit, folder, device), data, "moods/frame", graph, said.append, sdk.RTX, CARD)


def test_built_once_then_found(kit: Sdk, folder: Folder, tmp_path: Path) -> None:
    cache, told = PlanCache(tmp_path / "plans"), list[str]()
    first = made(kit, folder, cache, told)
    assert first.note.startswith("moods/frame: TensorRT plan built in")
    assert told[0] == "moods/frame: building a TensorRT plan (none was built yet)"
    shares = [int(text.split(", ")[1].partition("%")[0]) for text in told[1:]]
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert 50 <= shares[-1] <= 100
    again = made(kit, folder, PlanCache(tmp_path / "plans"), told := [])
    assert (again.data, told) == (first.data, [])
    assert again.note == "moods/frame: TensorRT plan found, as its passport says"
    assert {path.suffix for path in cache.directory.iterdir()} <= {".plan", ".json", ".bin"}, "nothing is left of the build"


def test_another_device_builds_its_own(kit: Sdk, folder: Folder, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path / "plans")
    made(kit, folder, cache)
    assert "built" in made(kit, folder, cache, device="another card").note
    assert len(list(cache.directory.glob("*.plan"))) == 2


def test_what_the_compiler_refuses_is_said_with_its_node(kit: Sdk, folder: Folder, tmp_path: Path) -> None:
    spoilt = folder.graph_bytes("frame").replace(b"Softmax", b"Sofdmax")
    with pytest.raises(EngineError, match=r"moods/frame: tensorrt-rtx .* does not parse the graph: node 3"):
        plan_for(
            PlanCache(tmp_path / "plans"), wanted(kit, folder), spoilt, "moods/frame", folder.manifest.graphs["frame"], lambda _: None,
            sdk.RTX, CARD,
        )  # fmt: skip


ENDS = {"aborts": "import os; os.abort()", "hangs": "import time; time.sleep(60)", "stops": "raise SystemExit(7)", "is_absent": None}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("aborts", "the build was ended by signal SIGABRT"),
        ("hangs", "the build took longer than 3 s"),
        ("stops", "the build ended with code 7"),
        ("is_absent", "no TensorRT here"),
    ],
)
def test_a_child_that_comes_to_a_bad_end_is_an_error_in_words(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    text = ENDS[how]
    if text is not None:
        (tmp_path / f"{how}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    cache = PlanCache(tmp_path / "plans")
    any_sdk = Sdk(module=making, name="tensorrt", version="1")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=said):
        plan_for(
            cache, wanted(any_sdk, folder), folder.graph_bytes("frame"), "moods/frame", folder.manifest.graphs["frame"], lambda _: None,
            (how,), timeout_s=3 if how == "hangs" else PATIENCE_S,
        )  # fmt: skip
    assert list(cache.directory.iterdir()) == []


def test_what_is_wanted_no_more_is_given_up(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dawdles.py").write_text("import time; time.sleep(3600)")
    monkeypatch.syspath_prepend(str(tmp_path))

    def told(text: str) -> None:
        if "%" in text:
            raise InterruptedError(text)

    cache, any_sdk = PlanCache(tmp_path / "plans"), Sdk(module=making, name="tensorrt", version="1")  # type: ignore[arg-type]
    with pytest.raises(InterruptedError, match="building a TensorRT plan, 0%"):
        plan_for(
            cache, wanted(any_sdk, folder), folder.graph_bytes("frame"), "moods/frame", folder.manifest.graphs["frame"], told, ("dawdles",),
        )  # fmt: skip
    assert list(cache.directory.iterdir()) == []
    running = [child.cmdline() for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    assert [command for command in running if "engines.plans.child" in command] == []


def test_a_child_ends_with_whoever_asked(folder: Folder, tmp_path: Path) -> None:
    """However that process went: here by SIGKILL, in the middle of a build."""
    (tmp_path / "dawdles.py").write_text("import time; time.sleep(3600)")
    script = (
        "import sys; from pathlib import Path; from engines.folder import open_folder; from engines.plans import making\n"
        f"from engines.plans.cache import PlanCache; f = open_folder(Path({str(folder.path)!r})); d = f.graph_bytes('frame')\n"
        "i = making.identity(d, sdk='tensorrt', version='1', capability='8.9', device='d', platform='p', largest=4)\n"
        f"making.plan_for(PlanCache(Path({str(tmp_path / 'plans')!r})), i, d, 'n', f.manifest.graphs['frame'], "
        "lambda text: print(text, flush=True), ('dawdles',))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(making.__file__).parents[2]), str(tmp_path)])}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    while "%" not in (line := parent.stdout.readline()):
        assert line, "the build has ended"
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(PATIENCE_S)


def test_the_interface_that_is_called_is_there(kit: Sdk) -> None:
    """What runs a plan cannot run here; at least every name that it uses exists in the newest release of the interface."""
    trt = kit.module
    for kind, names in {
        "Runtime": ("deserialize_cuda_engine",),
        "ICudaEngine": ("create_execution_context",),
        "IExecutionContext": ("set_tensor_address", "set_input_shape", "execute_async_v3"),
        "IBuilderConfig": ("create_timing_cache", "set_timing_cache", "get_timing_cache", "progress_monitor", "set_memory_pool_limit"),
        "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
    }.items():
        assert [name for name in names if not hasattr(getattr(trt, kind), name)] == [], kind
    removed = {"FP16", "BF16", "INT8", "FP8", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"}
    assert removed & set(dir(trt.BuilderFlag)) == set(), "the stand-in has the flags of TensorRT 10: it says nothing about 11 any more"


def test_a_profile_is_what_was_asked_for(kit: Sdk, folder: Folder) -> None:
    with pytest.raises(EngineError, match="does not build"):
        build(
            kit, folder.graph_bytes("frame"), "moods/frame", folder.manifest.graphs["frame"], Profile(4, 2, 1), lambda _p, _s: None,
            capabilities=CARD,
        )  # fmt: skip
    assert str(Profile.of(16)) == "b1-1-16"


@given(st.lists(st.tuples(st.sampled_from("sdf"), st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), max_size=60))
def test_a_share_is_between_none_and_all_and_never_falls(calls: list[tuple[str, int, int, int]]) -> None:
    phases, last = Phases(), 0.0
    for what, phase, parent, number in calls:
        if what == "s":
            # A phase is begun within one with a lower number: TensorRT's phases are a tree.
            phases.start(f"p{phase}", f"p{parent}" if parent < phase else None, number)
        elif what == "d":
            phases.step(f"p{phase}", number)
        else:
            phases.finish(f"p{phase}")
        share = phases.share()
        assert last <= share <= 1
        last = share


def test_a_share_counts_phases_within_phases() -> None:
    phases = Phases()
    phases.start("all", None, 4)
    phases.step("all", 0)
    assert phases.share() == 0.25
    phases.start("part", "all", 2)
    phases.step("part", 0)
    assert phases.share() == 0.375
    phases.finish("part")
    phases.step("all", 1)
    assert phases.share() == 0.5
