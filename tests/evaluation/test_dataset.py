"""Datasets: what is read, and what is said of rows that break a rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.evaluation.dataset import Dataset, DatasetError, mapping, read, read_trace

LABELS = ("neutral", "happy", "surprised")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "c, d.mp4"):
        (tmp_path / name).write_bytes(b"not opened here")
    (tmp_path / "a.csv").write_text("time_s,valence,arousal\n0,0.5,0\n0.04,-1,1\n", encoding="utf-8")
    return tmp_path


def given(folder: Path, text: str) -> Path:
    (folder / "clips.csv").write_text(text, encoding="utf-8")
    return folder


def fault(folder: Path, text: str, *pairs: str, dev: tuple[str, ...] = (), labels: tuple[str, ...] = LABELS) -> str:
    with pytest.raises(DatasetError) as told:
        read(given(folder, text), labels, mapping(pairs), "m", dev)
    return str(told.value).replace(str(folder), "D")


def test_labels_subjects_splits_and_maps(folder: Path) -> None:
    text = '\ufeffclip,label,subject,split\na.mp4,joy,ann,dev\nb.mp4,neutral,bob,\n"c, d.mp4",boredom,ann,test\n'
    data = read(given(folder, text), LABELS, mapping(["joy=happy", "boredom="]), "m", dev=["bob"])
    assert [(c.source.name, c.label, c.subject, c.development) for c in data.clips] == [
        ("a.mp4", "happy", "ann", True),
        ("b.mp4", "neutral", "bob", True),
    ]
    assert data.left_out == ("c, d.mp4",)
    assert (data.labelled, data.dimensions) == (True, ())
    assert isinstance(read(folder / "clips.csv", LABELS, mapping(["joy=happy", "boredom="])), Dataset)


def test_traces(folder: Path) -> None:
    data = read(given(folder, "clip,trace\na.mp4,a.csv\n"), (), {})
    annotation = data.clips[0].annotation
    assert annotation is not None
    np.testing.assert_array_equal(annotation.t_s, [0, 0.04])
    np.testing.assert_array_equal(annotation.values["valence"], [0.5, -1])
    assert data.dimensions == ("valence", "arousal")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip,label\na.mp4,hapy\n", "D/clips.csv line 2, column label: 'hapy' is no label of m; nearest: 'happy', all: neutral, happy,"),
        ("clip,label\na.mp4,Suprise\n", "nearest: 'surprised'"),
        ("clip,label\na.mp4,x\nb.mp4,y\n", "(and 1 more such faults)"),
        ("clip,label\na.mp4,happy\nz.mp4,happy\n", "line 3, column clip: 'z.mp4' is no file beside the CSV"),
        ("clip,label\na.mp4,happy\n./a.mp4,happy\n", "line 3, column clip: './a.mp4' stands on line 2 already"),
        ("clip,label\n,happy\n", "line 2, column clip: is empty"),
        ("clip,label\na.mp4,\n", "line 2, column label: is empty"),
        ("clip,label,subject\na.mp4,happy,\n", "line 2, column subject: is empty"),
        ("clip,label,split\na.mp4,happy,train\n", "line 2, column split: is 'train'; allowed: dev, test"),
        ("clip,label\na.mp4\n", "line 2: has 1 cells, the header has 2"),
        ("clip,label\nc, d.mp4,happy\n", "quote cells that hold commas"),
        ("clip,label,age\na.mp4,happy,7\n", "has columns clip, label, age; needed: clip, allowed: clip, label,"),
        ("clip,subject\na.mp4,ann\n", "it needs label, or trace, or both"),
        ("clip,label\n", "has a header and no rows"),
        ("", "has columns none; needed: clip"),
        ("clip,trace\na.mp4,none.csv\n", "line 2, column trace: 'none.csv' is no file beside the CSV"),
        ("clip;label\na.mp4;happy\n", "its cells are kept apart by semicolons, they must be by commas"),
        ("clip\tlabel\na.mp4\thappy\n", "its cells are kept apart by tabs, they must be by commas"),
    ],
)
def test_a_bad_row_is_told_by_line_and_column(folder: Path, text: str, said: str) -> None:
    assert said in fault(folder, text)


def test_what_flags_name_must_be_there(folder: Path) -> None:
    text = "clip,label,subject\na.mp4,happy,ann\n"
    assert "--map names 'joy', which no row" in fault(folder, text, "joy=happy")
    assert "--dev names 'bob', which no row" in fault(folder, text, dev=("bob",))
    assert "names no clip to evaluate that --map does not leave out" in fault(folder, text, "happy=")
    assert "m has no labels" in fault(folder, text, labels=())
    for pair in ("joy", "=happy"):
        with pytest.raises(DatasetError, match="must be THEIRS=OURS"):
            mapping([pair])
    with pytest.raises(DatasetError, match="give one of them"):
        mapping(["joy=happy", "joy=neutral"])
    with pytest.raises(DatasetError, match=r"a folder with clips\.csv in it"):
        read(folder / "none", LABELS, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time_s,valence\n0,0\n0,0\n", "line 3, column time_s: 0 after 0; times must rise"),
        ("time_s,valence\n0,1.5\n", "line 2, column valence: is '1.5'; allowed: a number from -1 to 1"),
        ("time_s,valence\n0,\n", "line 2, column valence: is ''"),
        ("time_s,arousal\nnan,0\n", "line 2, column time_s: is 'nan'; allowed: a number of seconds, 0 or more"),
        ("time_s,arousal\ninf,0\n", "line 2, column time_s: is 'inf'"),
        ("time_s\n0\n", "it needs valence or arousal"),
        ("valence\n0\n", "needed: time_s"),
    ],
)
def test_a_bad_trace_is_told_by_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError) as told:
        read_trace(file)
    assert said in str(told.value)


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(b"clip,label\n\xff\xfe,happy\n")
    with pytest.raises(DatasetError, match="cannot be read as CSV in UTF-8"):
        read(tmp_path, LABELS, {})
    assert "holds a NUL" in fault(tmp_path, "clip,label\na\0b,happy\n")
