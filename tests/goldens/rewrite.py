"""Write goldens anew (`make golden`): show what changes, ask why, keep the answer.

Owns what it prints, the question, and `REASONS.md`: no golden stands without the reason it was written for. Does not
own what counts as a difference (`compare.py`).
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from tests.goldens import record, statement
from tests.goldens.compare import compare
from tests.media import ensure

REASONS = "REASONS.md"
_PRINTED = 12  # lines of one clip; more would not be read


def digest(clip: str, folder: Path) -> str:
    """Return the first 16 hex digits of the sha256 of both files of a golden."""
    files = [path(clip, folder) for path in (record.events_path, record.codes_path)]
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def reasoned(folder: Path) -> dict[str, str]:
    """Return, by clip, the digest of the golden that the last reason was written for."""
    text = (folder / REASONS).read_text(encoding="utf-8")
    return dict(re.findall(r"^- `(.+)` `([0-9a-f]{16})`$", text, flags=re.MULTILINE))


def changes(clip: str, found: record.Recording, folder: Path) -> list[str]:
    """Return what changes in a clip's golden, in words; none: nothing does, but for rounding."""
    if not record.events_path(clip, folder).is_file():
        return [f"new: {len(found.events)} events"]
    difference = compare(found.wired, record.kept_events(clip, folder))
    return [*difference.faults, *difference.moved]


def rewrite(found: Mapping[str, record.Recording], folder: Path, ask: Callable[[], str], today: str) -> int:
    """Show what changes, and write it if `ask` gives a reason. Return an exit code: 2 if there is none.

    A golden that differs by rounding alone stays as it is.
    """
    changed = {clip: lines for clip, run in found.items() if (lines := changes(clip, run, folder))}
    if not changed:
        print("no golden changes: nothing differs beyond rounding")
        return 0
    for clip, lines in changed.items():
        print(f"{clip}: {len(lines)} changes")
        print(_indented(lines))
        if wrong := statement.contradictions(statement.read(clip), found[clip].wired):
            print(f"  against what a person sees in it ({statement.path(clip).name}):\n{_indented(wrong)}")
    reason = ask().strip()
    if not reason:
        print("nothing is written without a reason: REASON='why this is right' make golden", file=sys.stderr)
        return 2
    for clip in changed:
        record.events_path(clip, folder).write_text(record.events_text(found[clip].wired), encoding="utf-8")
        record.codes_path(clip, folder).write_text(record.codes_text(found[clip].codes), encoding="utf-8")
    with (folder / REASONS).open("a", encoding="utf-8") as reasons:
        rows = "".join(f"- `{clip}` `{digest(clip, folder)}`\n" for clip in changed)
        reasons.write(f"\n## {today}\n\n{textwrap.fill(reason, 118)}\n\n{rows}")
    print(f"written: {', '.join(changed)}; the reason stands in {REASONS}")
    return 0


def _indented(lines: Sequence[str]) -> str:
    more = [f"… and {len(lines) - _PRINTED} more"] if len(lines) > _PRINTED else []
    return "\n".join(f"    {text}" for text in [*lines[:_PRINTED], *more])


def _ask() -> str:
    reason = os.environ.get("REASON", "")
    return reason if reason or not sys.stdin.isatty() else input("why is this right? ")


def main() -> int:
    """Run every clip and write what differs."""
    media = ensure()
    found = {clip: record.run(media, clip) for clip in record.CLIPS}
    return rewrite(found, record.HERE, _ask, datetime.now(timezone.utc).date().isoformat())


if __name__ == "__main__":
    sys.exit(main())
