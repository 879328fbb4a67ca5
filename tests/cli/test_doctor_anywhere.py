"""`mien doctor` prints its table on machines where what mien needs is missing, broken, or ends the process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from service.diagnostics.libraries import MODULES, OPENCV, opencv
from service.diagnostics.machine import how_installed, python
from service.diagnostics.table import table

pytestmark = pytest.mark.usefixtures("no_variables")

ROOT = Path(__file__).resolve().parents[2]
NO_LIBRARY = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
NOT_INSTALLED = "raise ModuleNotFoundError(f'No module named {__name__!r}', name=__name__)"
ENDS = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
BUILT_FOR_ANOTHER = "raise RuntimeError('NumPy was built with baseline optimizations: (X86_V2) but your machine has none')"


def mien(*arguments: object, instead: dict[str, str] | None = None, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; `instead`: the code that stands in `folder` where these packages should."""
    env = dict(os.environ)
    if instead is not None:
        assert folder is not None
        for name, code in instead.items():
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(code + "\n", encoding="utf-8")
        env["PYTHONPATH"] = str(folder)
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)


def row(output: str, name: str) -> tuple[str, str]:
    """Return state and detail of the first row of a name."""
    found = re.search(rf"^{re.escape(name)} +(ok|warning|absent|fault) *(.*)$", output, re.MULTILINE)
    assert found is not None, output
    return found[1], found[2]


Row = tuple[str, str, tuple[str, ...]]
MANY_WAYS: dict[str, Row] = {
    "av": (NOT_INSTALLED, "fault", ("No module named 'av'", "pip install 'av>=")),
    "cv2": (NO_LIBRARY, "fault", ("ImportError: libGL.so.1: cannot open", "apt-get install libgl1", "pip install opencv-python-headless")),
    "numpy": (BUILT_FOR_ANOTHER, "fault", ("RuntimeError: NumPy was built with baseline", "pip install --force-reinstall 'numpy>=")),
    "onnxruntime": (NO_LIBRARY.replace("libGL", "libgomp"), "warning", ("libgomp.so.1", "apt-get install libgomp1")),
    "pydantic": (NO_LIBRARY.replace("libGL.so.1", "libgcc_s.so.1"), "fault", ("install what brings libgcc_s.so.1",)),
    "rich": ("raise SyntaxError('bad file')", "fault", ("SyntaxError: bad file", "pip install --force-reinstall 'rich>=")),
    "typer": (NOT_INSTALLED, "fault", ("No module named 'typer'", "pip install 'typer>=")),
}
"""What stands in the place of a package, the state of its row, and words in its detail."""


@pytest.mark.parametrize(
    "broken",
    [
        MANY_WAYS,
        {"cv2": MANY_WAYS["cv2"]},
        {
            "cv2": (ENDS, "fault", ("ends the process by SIGSEGV", "built for another processor")),
            "onnxruntime": (ENDS, "warning", ("ends the process by SIGSEGV",)),
        },
    ],
    ids=["many-ways", "opencv-alone", "crashes"],
)
def test_what_does_not_load_is_a_row_with_its_remedy(broken: dict[str, Row], tmp_path: Path) -> None:
    done = mien("doctor", instead={package: code for package, (code, _, _) in broken.items()}, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    for package, (_, state, words) in broken.items():
        found, detail = row(done.stdout, package)
        assert found == state
        assert [word for word in words if word not in detail] == []
    # What does load is still there, before it and after it.
    assert row(done.stdout, "processor")[0] == "ok"
    assert row(done.stdout, "websockets") == ("ok", metadata.version("websockets"))
    assert row(done.stdout, "devices")[0] in ("ok", "absent")
    state, detail = row(done.stdout, "all of them")
    assert (state, "ends the process with status 1: " in detail or "SIGSEGV" in detail) == ("fault", True)


def test_everything_at_once_is_still_a_table(tmp_path: Path) -> None:
    missing = {module: NOT_INSTALLED for module in MODULES.values() if module is not None}
    done = mien("doctor", instead=missing, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert {module: row(done.stdout, module)[0] for module in missing} == dict.fromkeys(missing, "fault")
    state, detail = row(done.stdout, "all of them")
    assert (state, "No module named" in detail) == ("fault", True)
    as_json = json.loads(mien("doctor", "--format", "json", instead={}, folder=tmp_path).stdout)
    assert {(one["name"], one["state"]) for one in as_json} >= {(module, "fault") for module in missing}


def test_a_runtime_that_ends_the_process_leaves_the_others_their_rows(tmp_path: Path) -> None:
    done = mien("doctor", "--backend", "openvino", "--format", "json", instead={"onnxruntime": ENDS}, folder=tmp_path)
    rows = {(one["topic"], one["name"]): one for one in json.loads(done.stdout)}
    assert rows["runtimes", "onnx"]["state"] == "absent"
    assert "SIGSEGV" in rows["runtimes", "onnx"]["detail"]
    assert ("runtimes", "triton") in rows
    if (chosen := rows["runtimes", "openvino"])["state"] == "ok":
        assert (done.returncode, rows["models", "fer-small (chosen)"]["state"]) == (0, "ok")
    else:
        assert "pip install 'mien[openvino]'" in chosen["detail"]


@pytest.mark.parametrize(
    ("package", "code", "arguments"),
    [
        ("typer", NOT_INSTALLED, ()),
        ("typer", NOT_INSTALLED, ("--help",)),
        # OpenCV puts its own folder on the path before it loads its library.
        ("cv2", "import os, sys; sys.path.insert(1, os.path.dirname(__file__))\n" + NO_LIBRARY, ("analyze", "clip.mp4")),
        ("cv2", NO_LIBRARY, ("serve", "--port", "0")),
        ("numpy", BUILT_FOR_ANOTHER, ("analyze", "clip.mp4")),
        ("pydantic", "raise OSError('libgcc_s.so.1: cannot open shared object file')", ("models",)),
    ],
)
def test_a_command_that_cannot_import_says_one_line(package: str, code: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = mien(*arguments, instead={package: code}, folder=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"mien: error: {package} cannot be imported: ")
    assert done.stderr.endswith("`mien doctor` says what is missing and how to get it\n")


def test_a_runtime_that_does_not_load_is_one_line_too(media: Path, tmp_path: Path) -> None:
    done = mien("analyze", media / "no_face.mp4", instead={"onnxruntime": NO_LIBRARY}, folder=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "'onnx' does not load: libGL.so.1: cannot open shared object file" in done.stderr
    assert "`mien doctor` says" in done.stderr


def test_help_is_there_whatever_native_library_is_not(tmp_path: Path) -> None:
    native = dict.fromkeys(("av", "cv2", "numpy", "onnxruntime", "pydantic", "simplejpeg"), NO_LIBRARY)
    done = mien("--help", instead=native, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "doctor" in done.stdout


def test_a_fault_of_our_own_keeps_its_trace(tmp_path: Path) -> None:
    # The name is not in a module of ours: a bug, whatever is installed.
    (tmp_path / "sitecustomize.py").write_text("import service.refusal; del service.refusal.Refusal\n", encoding="utf-8")
    done = mien("models", instead={}, folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "cannot import name 'Refusal' from 'service.refusal'" in done.stderr


def test_the_way_to_the_table_is_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import service.__main__, service.diagnostics.doctor; "
        "print(sorted({n.partition('.')[0] for n in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "['capture', 'service']\n"


def test_every_dependency_is_tried() -> None:
    lines = [line for line in metadata.requires("mien") or [] if "extra ==" not in line]
    assert lines
    assert {re.split(r"[\s<>=!~\[(;]", line)[0] for line in lines} <= {*MODULES, *OPENCV}


def test_two_distributions_in_opencvs_folder_are_a_warning_with_its_remedy() -> None:
    assert opencv(["opencv-python-headless"]).state == "ok"
    assert opencv([]).state == "ok"
    both = opencv(["opencv-python-headless", "opencv-contrib-python"])
    assert both.state == "warning"
    assert "pip uninstall opencv-contrib-python, pip install --force-reinstall --no-deps opencv-python-headless" in both.detail


@pytest.mark.parametrize(("version", "state"), [((3, 9), "warning"), ((3, 10), "ok"), ((3, 14), "ok"), ((3, 15), "warning")])
def test_a_python_that_is_not_promised_is_a_warning(version: tuple[int, int], state: str) -> None:
    assert python(version, ">=3.10,<3.15").state == state


def test_in_a_tools_own_environment_it_says_what_stands_for_pip(tmp_path: Path) -> None:
    assert how_installed(tmp_path) == ""
    (tmp_path / "uv-receipt.toml").touch()
    assert f"`uv pip install --python {tmp_path}`" in how_installed(tmp_path)
    (tmp_path / "pipx_metadata.json").touch()
    assert "`pipx runpip mien`" in how_installed(tmp_path)


def test_flags_that_are_wrong_are_exit_code_2(tmp_path: Path) -> None:
    for arguments in (("--formt", "json"), ("--format", "xml"), ("--seconds", "0"), ("--threads", "two")):
        done = mien("doctor", *arguments)
        assert (done.returncode, "usage: mien doctor" in done.stderr) == (2, True)
    done = mien("doctor", "--config", tmp_path / "none.toml")
    assert done.returncode == 2
    assert "does not exist" in row(done.stdout, "configuration")[1]


def test_a_table_folds_its_last_column_on_a_terminal() -> None:
    rows = [("cv2", "fault", "one two three four five six seven"), ("av", "ok", "18")]
    assert list(table("libraries", ("what", "state", "detail"), rows, 34)) == [
        "libraries",
        "what  state  detail",
        "────  ─────  ─────────────────────",
        "cv2   fault  one two three four",
        "             five six seven",
        "av    ok     18",
        "",
    ]
    assert list(table("t", ("what", "detail"), [("a\x1b[1m", "b" * 200)], None))[2] == "a\N{REPLACEMENT CHARACTER}[1m  " + "b" * 200
