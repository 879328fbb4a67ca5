"""A rig listened to for some seconds: what `mien doctor --rig` and `mien rig` say of it.

Owns the questions. Does not own matching or devices (`capture/`), or how findings are written (`commands/`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from capture.driver import SourceError
from capture.ensemble import Ensemble
from capture.frame import Bundle, Frame, Modality, SourceInfo, SourceState
from capture.rig import Given, SourceReport, Told
from service.diagnostics.finding import Finding
from service.rig_file import RigFile

SLOW = 0.8
"""Of its announced rate, what a source must reach."""


@dataclass(slots=True)
class Heard:
    """What came in the time: arrivals and skews by source, bundles, states."""

    arrivals_ns: dict[str, list[int]] = field(default_factory=dict)
    skews_ns: dict[str, list[int]] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    bundles: int = 0
    states: list[SourceState] = field(default_factory=list)

    def hear(self, given: Given) -> None:
        """Note an input of the rig."""
        if isinstance(given, Frame):
            self.arrivals_ns.setdefault(given.source, []).append(given.arrival_t_ns)

    def tell(self, told: Told) -> None:
        """Note what the rig says."""
        if isinstance(told, SourceState):
            self.states.append(told)
            return
        self._bundle(told)

    def _bundle(self, bundle: Bundle) -> None:
        self.bundles += 1
        self.held.update(bundle.held)
        self.missing.update(bundle.missing)
        for name, skew_ns in bundle.skew_ns.items():
            self.skews_ns.setdefault(name, []).append(skew_ns)


def listen(rig: RigFile, seconds: float) -> Iterator[Finding]:
    """Run a rig for `seconds` and say each source's rate, skew, drift and drops, then the bundles; all sources are closed after."""
    heard = Heard()
    topic = f"rig {rig.name}"
    try:
        ensemble = Ensemble(rig.name, rig.devices(), rig.tolerance_ns, rig.deadline_ns, heard.tell, heard.hear)
        infos = ensemble.start()
    except SourceError as error:
        yield Finding(topic, "sources", "fault", f"{error.code}: {error}")
        return
    try:
        time.sleep(seconds)  # the measurement itself: other threads take down what comes
    finally:
        reports = ensemble.reports
        ensemble.stop()
    for name, info in infos.items():
        yield _source(topic, name, info, reports[name], heard, sorted(ensemble.unwanted.get(name, ())))
    color = next(name for name, table in rig.sources.items() if table.modality == "color")
    frames = len(heard.arrivals_ns.get(color, ()))
    complete = heard.bundles - max([heard.missing[name] for name in infos], default=0)
    said = f"{heard.bundles} of {frames} colour frames, at least {complete} of them complete"
    yield Finding(topic, "bundles", "ok" if complete else "fault", f"{said}; lost on the way: {ensemble.overrun}")


def _source(topic: str, name: str, info: SourceInfo, report: SourceReport, heard: Heard, unwanted: list[Modality]) -> Finding:
    arrivals = heard.arrivals_ns.get(name, [])
    if len(arrivals) < 2:
        why = f"; its camera gives {', '.join(unwanted)}: is its `modality` right?" if unwanted and not arrivals else ""
        return Finding(topic, name, "fault", f"{info.modality}: {len(arrivals)} frames came{why}")
    fps = (len(arrivals) - 1) * 1e9 / max(1, arrivals[-1] - arrivals[0])
    words = [f"{info.modality} {info.width}×{info.height}", f"{fps:.1f} fps" + (f" of {info.fps:g}" if info.fps else "")]
    skews = heard.skews_ns.get(name)
    if skews:
        low, middle, high = min(skews) / 1e6, median(skews) / 1e6, max(skews) / 1e6
        words.append(f"skew {middle:+.1f} ms ({low:+.1f} to {high:+.1f})")
    if report.fix is not None:
        doubt = report.fix.uncertainty_ns / 1e6
        words.append(f"drift {report.fix.drift_ppm:+.0f} ppm, offset {report.fix.offset_ns / 1e6:+.1f} ± {doubt:.1f} ms")
    else:
        words.append("no stamps of its own: goes by arrival")
    words.append(f"drops {report.device_drops}")
    words += [f"{what} {count} of {heard.bundles} bundles" for what, count in
              (("held in", heard.held[name]), ("missing in", heard.missing[name])) if count]  # fmt: skip
    changes = [state.state for state in heard.states if state.source == name]
    words += [f"states: {', '.join(changes)}"] if changes else []
    slow = info.fps is not None and fps < SLOW * info.fps
    bad = slow or bool(changes) or heard.missing[name] > heard.bundles // 2
    return Finding(topic, name, "fault" if bad else "ok", "; ".join(words))
