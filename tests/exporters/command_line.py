"""`mien-export` run in this process: arguments in; exit code, standard output and standard error out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporters import __main__ as command

Export = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export(needs_torch: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Export:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mien-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        said = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else int(code is not None)), said.out, said.err

    return run
