"""What a run over mutants came to, module by module, and the page that keeps it (`docs/mutants.md`).

Owns the score: of the mutants that were tried, how many the tests caught; a timeout is caught, an equivalent is not tried.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.trial import Fate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mutants.md"
HEAD = "| module | caught | of them timeouts | survived | equivalent | score | date |"
RULE = "|---|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Result:
    """How many mutants of one module, or of all, met which fate."""

    module: str
    caught: int
    timeouts: int
    survived: int
    equivalent: int

    @classmethod
    def of(cls, module: str, fates: Sequence[Fate], equivalent: int) -> Result:
        """Count fates."""
        return cls(module, fates.count("caught"), fates.count("timeout"), fates.count("survived"), equivalent)

    @classmethod
    def sum(cls, results: Sequence[Result]) -> Result:
        """Add up the results of modules."""
        parts = [(result.caught, result.timeouts, result.survived, result.equivalent) for result in results]
        return cls("all", *(sum(column) for column in zip(*parts, strict=True))) if parts else cls("all", 0, 0, 0, 0)

    @property
    def tried(self) -> int:
        """Return how many mutants were tried."""
        return self.caught + self.timeouts + self.survived

    @property
    def score(self) -> float:
        """Return the share that was caught, in percent; 0 when nothing was tried, which proves nothing."""
        return 100.0 * (self.caught + self.timeouts) / self.tried if self.tried else 0.0

    def row(self, date: str) -> str:
        """Return a row of the table."""
        caught = self.caught + self.timeouts
        return f"| {self.module} | {caught} | {self.timeouts} | {self.survived} | {self.equivalent} | {self.score:.1f} % | {date} |"

    def __str__(self) -> str:
        caught = self.caught + self.timeouts
        return f"{self.module}: {caught} of {self.tried} caught ({self.timeouts} by a time limit), {self.score:.1f} %"


def table(results: Sequence[Result]) -> str:
    """Return the table of a run."""
    return "\n".join([HEAD, RULE, *(result.row(_today()) for result in results)])


def record(result: Result, page: Path = PAGE) -> None:
    """Put a module's result in the place of its last one, the rows in alphabetical order."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"{HEAD}\n{RULE}\n")
    rows = re.match(r"(?:\|.*\n)*", rest)
    assert rows is not None
    kept = [row for row in rows[0].splitlines() if not row.startswith(f"| {result.module} |")]
    together = "\n".join(sorted([*kept, result.row(_today())]))
    page.write_text(f"{before}{HEAD}\n{RULE}\n{together}\n{rest[rows.end() :]}", encoding="utf-8")


def _today() -> str:
    return datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
