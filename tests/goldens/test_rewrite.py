"""Goldens change for a reason, and the reason stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.goldens import record, rewrite

CLIP = "single_face.jpg"
Found = dict[str, record.Recording]


@pytest.fixture(scope="module")
def found(media: Path) -> Found:
    return {CLIP: record.run(media, CLIP)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The goldens of a picture that once were other: another label, another frame time."""
    for path in (record.events_path(CLIP), record.codes_path(CLIP), record.HERE / rewrite.REASONS):
        shutil.copy(path, tmp_path)
    file = record.events_path(CLIP, tmp_path)
    text = file.read_text(encoding="utf-8")
    assert '"label":"happy"' in text
    assert '"t_ns":0' in text
    file.write_text(text.replace('"label":"happy"', '"label":"sad"').replace('"t_ns":0', '"t_ns":5'), encoding="utf-8")
    return tmp_path


def test_every_golden_is_the_one_that_a_reason_was_written_for() -> None:
    assert rewrite.reasoned(record.HERE) == {clip: rewrite.digest(clip, record.HERE) for clip in record.CLIPS}


def test_what_changes_is_printed_and_nothing_is_written_without_a_reason(
    found: Found, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert rewrite.rewrite(found, folder, lambda: "  ", "2026-01-02") == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    printed = capsys.readouterr()
    assert "clip, track 1: label happy instead of sad (1.000, the next 0.000)" in printed.out
    assert "frame 1: t_ns is 0 instead of 5" in printed.out
    assert "REASON=" in printed.err


def test_a_reason_is_stored_with_its_day_beside_what_was_written(found: Found, folder: Path) -> None:
    assert rewrite.rewrite(found, folder, lambda: "The label was put in by hand.", "2026-01-02") == 0
    golden = record.events_path(CLIP, folder).read_text(encoding="utf-8")
    assert '"label":"happy"' in golden
    assert '"label":"sad"' not in golden
    assert rewrite.reasoned(folder)[CLIP] == rewrite.digest(CLIP, folder)
    text = (folder / rewrite.REASONS).read_text(encoding="utf-8")
    row = f"- `{CLIP}` `{rewrite.digest(CLIP, folder)}`\n"
    assert text.endswith(f"\n## 2026-01-02\n\nThe label was put in by hand.\n\n{row}")


def test_a_difference_of_rounding_alone_writes_nothing_and_asks_nothing(found: Found, folder: Path) -> None:
    file = record.events_path(CLIP, folder)
    file.write_text(record.events_text(_rounded_otherwise(found[CLIP])), encoding="utf-8")
    before = file.read_bytes()

    def ask() -> str:
        raise AssertionError("asked")

    assert rewrite.rewrite(found, folder, ask, "2026-01-02") == 0
    assert file.read_bytes() == before


def _rounded_otherwise(run: record.Recording) -> list[record.Json]:
    events: list[record.Json] = json.loads(json.dumps(run.wired))
    (face,) = events[0]["faces"]
    face["bbox"][0] += 0.01
    face["score"] -= 1e-6
    assert events != run.wired
    return events


def test_a_new_clip_is_new(found: Found, folder: Path) -> None:
    record.events_path(CLIP, folder).unlink()
    assert rewrite.changes(CLIP, found[CLIP], folder) == ["new: 2 events"]
