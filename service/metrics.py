"""What the service counts of itself, for Prometheus.

Owns one registry (the process-wide default one is left alone). Frames are read from the ledgers, so that the sums of
received, used, dropped and rejected hold at every scrape. Does not own the address they are read at (`api/health.py`).
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from service.events import Event
from service.ledger import Ledger
from service.live import LiveStats
from service.messages import Output

AGE_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
ROUND_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0)


class Readable(Protocol):
    """What a reading is taken of: the live loop."""

    def stats(self) -> LiveStats: ...


class Metrics:
    """Counters, histograms, and the readings taken when they are asked for."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._lock = threading.Lock()
        self._open: set[Ledger] = set()
        self._retired: Tally[tuple[str, str]] = Tally()
        self._loop: Readable | None = None
        self._model: dict[str, str] = {}
        self._messages = Counter("mien_messages", "Messages of the live loop, by kind.", ["kind"], registry=self._registry)
        self._predictions = Counter("mien_predictions", "Predictions of windows.", registry=self._registry)
        self._age = Histogram(
            "mien_label_age_seconds", "Sending of a due result − arrival of its frame.", buckets=AGE_S, registry=self._registry
        )
        self._round = Histogram("mien_round_seconds", "Duration of a round.", buckets=ROUND_S, registry=self._registry)
        self._registry.register(self)

    def watch(self, loop: Readable, model: dict[str, str]) -> None:
        """Take readings of `loop` from now on; `model`: what is said of the model that sessions start with."""
        self._loop, self._model = loop, model

    def opened(self, ledger: Ledger) -> None:
        """Count a session's frames from now on."""
        with self._lock:
            self._open.add(ledger)

    def closed(self, ledger: Ledger) -> None:
        """Keep the counts of a session that has ended."""
        with self._lock:
            if ledger in self._open:
                self._open.remove(ledger)
                self._retired.update(_counted(ledger))

    def said(self, output: Output) -> None:
        """Count a message of the live loop."""
        message = output.message
        self._messages.labels(type(message).__name__.lower()).inc()
        if isinstance(message, Event):
            self._predictions.inc(sum(face.prediction is not None for face in message.faces))

    def age(self, seconds: float) -> None:
        """Take down the age of a due result as it was sent."""
        self._age.observe(seconds)

    def round(self, ns: int) -> None:
        """Take down the duration of a round, ns."""
        self._round.observe(ns / 1e9)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Yield the readings: frames by fate, sessions, rounds' level, model (called by the registry)."""
        with self._lock:
            totals = Tally(self._retired)
            for ledger in self._open:
                totals.update(_counted(ledger))
        received = CounterMetricFamily("mien_frames_received", "Frames that were given a number.", value=totals["received", ""])
        used = CounterMetricFamily("mien_frames_used", "Frames that went through detection.", value=totals["used", ""])
        dropped = CounterMetricFamily("mien_frames_dropped", "Frames left out, by reason.", labels=["reason"])
        rejected = CounterMetricFamily("mien_frames_rejected", "Frames that could not be used, by code.", labels=["code"])
        for (fate, why), count in sorted(totals.items()):
            if fate in ("dropped", "rejected"):
                (dropped if fate == "dropped" else rejected).add_metric([why], count)
        yield from (received, used, dropped, rejected)
        if self._loop is not None:
            stats = self._loop.stats()
            yield GaugeMetricFamily("mien_sessions", "Open sessions, cameras included.", value=stats.sessions)
            yield GaugeMetricFamily("mien_degrade_level", "Step of the degrade ladder; 0: none.", value=stats.level)
            yield InfoMetricFamily("mien_model", "The model that sessions start with.", value=self._model)


def _counted(ledger: Ledger) -> Tally[tuple[str, str]]:
    counts = ledger.counts()
    counted: Tally[tuple[str, str]] = Tally({("received", ""): counts.received, ("used", ""): counts.used})
    counted.update({("dropped", reason): count for reason, count in counts.dropped.items()})
    counted.update({("rejected", code): count for code, count in counts.rejected.items()})
    return counted
