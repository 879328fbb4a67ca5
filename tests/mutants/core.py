"""The modules whose mutants count, and the narrow tests that must catch them: the one place that says so.

Owns which tests may judge which module. Which of them run a mutant's line is measured (`trial.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the product: globs of modules and of test files. `apart`: tests reach it through processes of their own as well."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    apart: bool = False


CORE = (
    Area(
        "session and tracks",
        ("service/session.py", "service/admission.py", "service/clock.py", "service/perception/track.py"),
        ("tests/session/test_*.py", "tests/cli/test_valence_only.py"),
    ),
    Area("windows", ("service/windows/*.py",), ("tests/windows/test_*.py", "tests/session/test_*.py")),
    Area(
        "perception geometry",
        ("service/perception/crop.py", "service/perception/letterbox.py", "service/perception/flow.py"),
        ("tests/perception/test_crop.py", "tests/perception/test_letterbox.py", "tests/perception/test_flow.py"),
    ),
    Area("writers", ("service/reports.py",), ("tests/cli/test_reports.py", "tests/cli/test_report_files.py")),
    Area("subtitles", ("service/clips/vtt.py",), ("tests/clips/test_vtt.py",)),
    Area(
        "evaluation",
        ("service/evaluation/hearing.py", "service/evaluation/judging.py", "service/evaluation/scores.py", "service/evaluation/dataset.py"),
        ("tests/evaluation/test_*.py",),
        apart=True,
    ),
    Area(
        "sync and clock",
        ("capture/sync.py", "capture/clock.py", "capture/ensemble.py"),
        ("tests/capture/test_sync.py", "tests/capture/test_clock.py", "tests/capture/test_ensemble.py", "tests/capture/test_rig.py"),
    ),
    Area(
        "parity and precision",
        ("exporters/parity.py", "exporters/comparison.py", "exporters/precision.py"),
        ("tests/exporters/test_parity*.py", "tests/exporters/test_comparison.py", "tests/precision/test_*.py"),
    ),
    Area(
        "API boundary",
        ("service/api/boundary.py", "service/api/upload.py", "service/api/outbox.py"),
        ("tests/api/test_boundary.py", "tests/api/test_upload.py", "tests/api/test_outbox.py"),
    ),
    Area(
        "life of clips",
        ("service/clips/queue.py", "service/clips/expiry.py", "service/clips/store.py"),
        ("tests/clips/test_queue.py", "tests/clips/test_expiry.py", "tests/clips/test_tidy.py", "tests/clips/test_survival.py"),
        apart=True,
    ),
    Area(
        "replay",
        ("service/replay.py", "service/resync.py"),
        ("tests/record/test_replay_by_hand.py", "tests/record/test_resync.py", "tests/record/test_record_replay.py"),
    ),
    Area(
        "client",
        ("service/remote/pushing.py", "service/remote/session.py"),
        ("tests/client/test_client_connections.py", "tests/client/test_client_reconnects.py", "tests/client/test_client_served.py"),
    ),
)


def modules(area: Area, root: Path) -> list[str]:
    """Return the paths of an area's modules, relative to the root of the tree."""
    return _found(area.modules, root)


def tests(area: Area, root: Path) -> list[str]:
    """Return the paths of an area's test files, relative to the root of the tree."""
    return _found(area.tests, root)


def _found(globs: tuple[str, ...], root: Path) -> list[str]:
    found = []
    for glob in globs:
        matches = sorted(path.relative_to(root).as_posix() for path in root.glob(glob) if path.name != "__init__.py")
        if not matches:
            raise SystemExit(f"make mutants: nothing is called '{glob}': correct tests/mutants/core.py")
        found += [match for match in matches if match not in found]
    return found
