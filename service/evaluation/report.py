"""A folder that tells of an evaluation: `report.md`, its pictures, and the JSON document.

Owns the folder's files and the Markdown's order. Replaces a report that is there; refuses a folder that holds anything else.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from service.evaluation import document, plots, shown
from service.evaluation.run import Evaluation
from service.intake import shown as printable
from service.refusal import Refusal, check_plotting

PAGE, NUMBERS = "report.md", "result.json"
_FILES = frozenset((PAGE, NUMBERS, "confusion.png", "folds.png", "valence.png", "arousal.png"))


class ReportRefused(Refusal):
    """The folder is not one for a report."""


def check(folder: Path) -> None:
    """Refuse a folder that a report may not replace, before hours are spent on it.

    Raises:
        ReportRefused: it is a file, or holds other files than a report's.
        PlottingMissing: the pictures could not be drawn.
    """
    if folder.exists() and not folder.is_dir():
        raise ReportRefused(f"--report {printable(folder)} is a file; name a folder")
    others = sorted({entry.name for entry in folder.iterdir()} - _FILES) if folder.is_dir() else []
    if others:
        raise ReportRefused(f"--report {printable(folder)} holds {others[0]!r}, which is no part of a report; name an empty folder")
    check_plotting("--report")


def write(done: Evaluation, folder: Path) -> None:
    """Write the report, in place of one that is there; whole or not at all.

    Raises:
        OSError: a file cannot be written.
    """
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
    try:
        # A private folder is mkdtemp's wish, not the user's.
        fresh.chmod(0o777 & ~_umask())
        pictures = plots.draw(done, fresh)
        (fresh / NUMBERS).write_text(document.text(done), encoding="utf-8")
        (fresh / PAGE).write_text(_page(done, pictures), encoding="utf-8")
        if folder.is_dir():
            shutil.rmtree(folder)
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _page(done: Evaluation, pictures: list[tuple[str, str]]) -> str:
    model = done.model
    lines = [f"# {model.manifest.title}, on {done.dataset.name}", ""]
    lines += [f"Model `{model.name.id}`, manifest sha256 `{model.name.sha256}…`, run by {model.backend}. {shown.counted(done)}.", ""]
    for table in shown.tables(done):
        lines += [f"## {table.title}", "", *shown.markdown(table), ""]
    for name, caption in pictures:
        lines += [f"## {caption}", "", f"![{caption}]({name})", ""]
    told = [*(f"unreadable, {one.code}: {one.detail}" for one in done.unreadable), *done.notes]
    if told:
        lines += ["## To be known", "", *(f"- {note}" for note in told), ""]
    lines += [f"A dash is a figure that is not defined. All numbers, and what was said of every clip: `{NUMBERS}`.", ""]
    return "\n".join(lines)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
