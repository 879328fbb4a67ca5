"""The mutants that mean the same as the code: left out of the score, each with the reason (`equivalents.toml`).

Owns the file. A mutant is known by module, scope and the change of its line, not by a line number. An entry that fits no mutant of its
module any more is an error: the code has changed, and the reason may have gone with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from tests.mutants.mutations import Mutant

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("equivalents.toml")
Identity = tuple[str, str, str, str, int]


def equivalents(path: Path = FILE) -> dict[Identity, str]:
    """Return why, by a mutant's identity.

    Raises:
        ValueError: an entry gives no reason, or there are two for one mutant.
    """
    found: dict[Identity, str] = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", []):
        identity = (entry["module"], entry["scope"], entry["was"], entry["becomes"], entry.get("nth", 1))
        if identity in found:
            raise ValueError(f"{path.name}: two entries for {identity}: keep one")
        if len(entry.get("why", "").split()) < 4:
            raise ValueError(f"{path.name}: {identity} has no reason: say in `why` why no test can tell it from the code")
        found[identity] = entry["why"]
    return found


def left_over(known: Iterable[Identity], mutants: Iterable[Mutant]) -> list[Identity]:
    """Return the entries about these mutants' modules that fit none of them."""
    identities, modules = set(), set()
    for mutant in mutants:
        identities.add(mutant.identity)
        modules.add(mutant.module)
    return [identity for identity in known if identity[0] in modules and identity not in identities]
