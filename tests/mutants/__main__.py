"""Put faults into the core, one at a time, and tell which the tests catch: `make mutants`.

    python -m tests.mutants [MODULE…] [--sample N] [--seed N] [--at-least PERCENT] [--record]

Owns what is printed. `core.py` lists the modules, `mutations.py` the kinds of fault, `equivalents.toml` what no test can catch,
`docs/mutants.md` the results that were recorded.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.media import ensure
from tests.mutants import core, equivalents, scratch, trial
from tests.mutants.mutations import Mutant, mutants
from tests.mutants.results import Result, record, table

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Tried:
    """A mutant and what became of it; `tests`: how many run its lines."""

    mutant: Mutant
    fate: trial.Fate
    tests: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 where the score is below what was asked for."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.split("\n", 1)[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="path of a module of the core; none: all of it")
    parser.add_argument("--sample", type=int, metavar="N", help="try N mutants drawn at random, instead of all")
    parser.add_argument("--seed", type=int, help="of the draw; the one that was used is printed")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT", help="exit 1 when fewer are caught")
    parser.add_argument("--record", action="store_true", help="write the results of whole modules into docs/mutants.md")
    options = parser.parse_args(arguments)
    if options.record and options.sample is not None:
        parser.error("--record is for whole modules: leave out --sample")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    areas = chosen(options.modules, ROOT)
    known = equivalents.equivalents()
    everything = [mutant for _, modules in areas for module in modules for mutant in of(module)]
    if left := equivalents.left_over(known, everything):
        sys.exit(f"make mutants: {equivalents.FILE.name} has entries that fit no mutant any more; correct or delete them: {left}")
    wanted = [mutant for mutant in everything if mutant.identity not in known]
    if options.sample is not None:
        wanted = random.Random(seed).sample(wanted, min(options.sample, len(wanted)))
        print(f"{len(wanted)} of {len(everything)} mutants, seed {seed}", flush=True)
    began = time.monotonic()
    results = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = scratch.copied(ROOT, Path(folder) / "tree")
        trial.preload()
        for area, modules in areas:
            for module, fates in trials(area, modules, wanted, copy):
                left_out = sum(identity[0] == module for identity in known)
                results.append(Result.of(module, [tried.fate for tried in fates], left_out))
                print(results[-1], flush=True)
                if options.record:
                    record(results[-1])
    print(table(results))
    total = Result.sum(results)
    print(f"{total.score:.1f} % caught of {total.tried} mutants, in {time.monotonic() - began:.0f} s")
    return 0 if total.score >= options.at_least else 1


def chosen(named: Sequence[str], root: Path) -> list[tuple[core.Area, list[str]]]:
    """Return the areas with those of their modules that were asked for."""
    found = [(area, [m for m in core.modules(area, root) if not named or m in named]) for area in core.CORE]
    if absent := set(named) - {module for _, modules in found for module in modules}:
        sys.exit(f"make mutants: not in the core: {', '.join(sorted(absent))}; tests/mutants/core.py lists what is")
    return [(area, modules) for area, modules in found if modules]


def of(module: str) -> list[Mutant]:
    """Return a module's mutants."""
    return mutants(module, (ROOT / module).read_text(encoding="utf-8"))


def trials(area: core.Area, modules: Sequence[str], wanted: Sequence[Mutant], copy: Path) -> Iterator[tuple[str, list[Tried]]]:
    """Try an area's mutants, module by module, in the order of their lines."""
    of_area = [mutant for mutant in wanted if mutant.module in modules]
    if not of_area:
        return
    environment = scratch.environment(copy, ensure())
    log = copy.with_suffix(".log")
    coverage = trial.measured(copy, environment, modules, core.tests(area, copy), copy.with_suffix(".json"))
    took = f"{len(coverage.seconds)} tests, {sum(coverage.seconds.values()):.0f} s without a mutant"
    print(f"{area.name}: {len(of_area)} mutants; {took}", flush=True)
    for module in modules:
        fates = []
        for mutant in sorted((mutant for mutant in of_area if mutant.module == module), key=lambda mutant: mutant.line):
            tests = coverage.tests(module, mutant.line, mutant.last_line, area.apart)
            fate: trial.Fate = "survived"
            if tests:
                with scratch.written(copy, module, mutant.text):
                    fate = trial.tried(copy, environment, tests, sum(coverage.seconds[test] for test in tests), log)
            fates.append(Tried(mutant, fate, len(tests)))
            if fate == "survived":
                print(survivor(fates[-1]), flush=True)
        if fates:
            yield module, fates


def survivor(tried: Tried) -> str:
    """Return a survivor as a difference, with what `equivalents.toml` would call it."""
    mutant = tried.mutant
    by = f"{tried.tests} tests run it" if tried.tests else "no test runs it"
    again = f" (no. {mutant.nth} of its like)" if mutant.nth > 1 else ""
    return f"  {mutant.module}:{mutant.line} in {mutant.scope or 'the module'}{again}; {by}\n    - {mutant.was}\n    + {mutant.becomes}"


if __name__ == "__main__":
    sys.exit(main())
