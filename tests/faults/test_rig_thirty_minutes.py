"""Thirty simulated minutes of three sensors with faults: every frame accounted for, memory level, bundles at the colour rate."""

from __future__ import annotations

import gc
import random

import numpy as np
import psutil
import pytest

from capture.frame import Bundle, Frame, SourceState, Tick
from tests.faults.simulated import DEADLINE_NS, MS, TICK_NS, TOLERANCE_NS, ZERO_NS, Simulation, Truth

MINUTES = 30
MARGIN_NS = 15 * MS


def script(seed: int) -> str:
    """A fault every ten seconds or so, for half an hour."""
    chance, at, parts = random.Random(seed), 5.0, []
    while at < MINUTES * 60 - 20:
        kind = chance.choice(["unplug", "freeze", "shutter", "late", "jump"])
        length = round(chance.uniform(0.5, 3.0), 2)
        by = round(chance.uniform(0.2, 2.0), 2)
        jump = round(chance.choice([-1, 1]) * chance.uniform(0.2, 5.0), 2)
        at = round(at, 2)
        parts.append({"late": f"late@{at}+{length}:{by}", "jump": f"jump@{at}:{jump}"}.get(kind, f"{kind}@{at}+{length}"))
        at += length + chance.uniform(4.0, 16.0)
    return ",".join(parts)


@pytest.mark.proof
def test_thirty_minutes_of_a_rig_with_faults() -> None:
    simulation = Simulation({name: script(seed) for seed, name in enumerate(("color", "depth", "thermal"))}, truth=Truth(keep=300))
    process, seen, levels = psutil.Process(), 0, []
    numbers, states, wrong, slow, last_ns = 0, 0, 0, 0, 0
    pairs = {"new": 0, "held": 0, "missing": 0}
    now_ns = ZERO_NS
    for given in simulation.inputs(MINUTES * 60):
        if isinstance(given, Frame):
            simulation.given[given.source] += 1
            seen += 1
            now_ns = max(now_ns, given.arrival_t_ns)
            if seen % 4000 == 0 and seen > 20_000:
                gc.collect()
                levels.append((seen, process.memory_info().rss))
        elif isinstance(given, Tick):
            now_ns = max(now_ns, given.t_ns)
        for told in simulation.rig.advance(given):
            if isinstance(told, SourceState):
                states += 1
                continue
            assert isinstance(told, Bundle)
            numbers += 1
            assert told.number == numbers
            assert told.t_ns > last_ns, "a session's time never runs back"
            last_ns = told.t_ns
            slow += now_ns - told.frames["color"].arrival_t_ns > DEADLINE_NS + 2 * TICK_NS
            for name in ("depth", "thermal"):
                pairs["missing" if name in told.missing else "held" if name in told.held else "new"] += 1
                if name in told.frames and name not in told.held and not told.frames["color"].flags:
                    wrong += abs(_away_ns(simulation, told, name)) > TOLERANCE_NS + MARGIN_NS
    reports = simulation.rig.reports
    for name, report in reports.items():
        assert sum(report.fates.values()) == report.frames == simulation.given[name]
    assert numbers == simulation.given["color"] - reports["color"].fates["waiting"], "a bundle for every colour frame"
    assert simulation.given["color"] > 0.75 * 30 * 60 * MINUTES
    assert slow == 0
    frames, rss = np.array(levels, float).T
    slope_mib = float(np.polyfit(frames / 1e5, rss / 2**20, 1)[0])
    print(
        f"{seen} frames, {numbers} bundles, {states} states, {pairs}, {wrong} new pairs off in truth, {slope_mib:+.2f} MiB per 1e5 frames"
    )
    assert slope_mib <= 10
    assert wrong == 0
    assert pairs["new"] > numbers
    assert states > 200


def _away_ns(simulation: Simulation, bundle: Bundle, name: str) -> int:
    """How far in truth the two exposures of a pair are apart (a frozen picture may be older)."""
    color, other = (simulation.truth.of[bundle.frames[n].source, bundle.frames[n].seq] for n in ("color", name))
    return other.t_ns - color.t_ns


def test_the_script_of_faults_has_each_kind() -> None:
    text = script(0)
    assert all(kind in text for kind in ("unplug", "freeze", "shutter", "late", "jump"))
