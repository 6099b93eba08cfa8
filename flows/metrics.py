"""What Prometheus is told at `/metrics`.

How things stand is asked of the tables at each scrape (every `STANDING_SECONDS` at most); what happened is read from the
audit log since the last one, so it counts whatever process did it. Counters begin at 0 with the first scrape. Labels are states,
destinations, parts and reasons of ours; nothing that names a patient, an order, a case or a file.

Several services on one database tell the same of it: take `max` over them, not `sum`; disks, parts and connections are of each
machine.
"""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from db.context import Clock, utc_now
from db.errors import DatabaseError
from db.session import Database
from db.watch_views import AnalysedField, Standing, TriedMessage
from flows.disk import DiskGuard
from flows.log import tell
from flows.watch_settings import WatchSettings

log = logging.getLogger(__name__)

STANDING_SECONDS = 5.0
MOST_REASONS = 32
_MODEL_BUCKETS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_WAIT_BUCKETS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
_ACK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Machine:
    """What only the running service knows; each is asked at every scrape.

    Attributes
    ----------
    parts : callable
        Each part with what is wrong with it, None where nothing is.
    restarts : callable
        How often each part was begun anew.
    connections : callable
        Open connections of each listener.
    """

    parts: Callable[[], Mapping[str, str | None]]
    restarts: Callable[[], Mapping[str, int]]
    connections: Callable[[], Mapping[str, int]]


class Metrics:
    """Measures of one service; for any number of threads.

    Parameters
    ----------
    database : Database
    disk : DiskGuard
    machine : Machine
    settings : WatchSettings
    clock : callable
        The time.
    monotonic : callable
        Seconds.
    """

    def __init__(
        self,
        database: Database,
        disk: DiskGuard,
        machine: Machine,
        settings: WatchSettings,
        *,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._disk = disk
        self._machine = machine
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._until: int | None = None
        self._asked_at = float("-inf")
        self._standing: Standing | None = None
        self._percents: tuple[float, ...] = ()
        self._problem = ""
        self._reasons: set[str] = set()
        self._registry = CollectorRegistry()
        self._happenings = _Happenings(self._registry)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def scrape(self) -> bytes:
        """The measures as Prometheus' text format."""
        with self._lock:
            self._catch_up()
            return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: else the registry would ask the database when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What stands now; called by the registry within `scrape`."""
        yield _info(metadata.version("spheroflow"))
        yield _gauge("sphero_database_up", "Whether the tables could be asked.", self._standing is not None)
        if self._standing is not None:
            yield from _told(self._standing, self._clock().timestamp())
            yield from self._drift()
        yield from self._of_disks()
        yield from self._of_parts()

    # ---------------------------------------------------------------------------------------------------------- inside
    def _catch_up(self) -> None:
        try:
            with self._database.reading() as work:
                if self._until is None:
                    self._until = work.watch.last()
                if self._monotonic() - self._asked_at >= STANDING_SECONDS:
                    self._standing = work.watch.standing()
                    self._percents = work.watch.spherocyte_percents(
                        self._settings.drift_cases + self._settings.baseline_cases
                    )
                    self._asked_at = self._monotonic()
            self._count(self._until)
            self._problem = ""
        except DatabaseError as error:
            self._standing, self._asked_at = None, float("-inf")
            if tell(error) != self._problem:
                self._problem = tell(error)
                log.warning("the tables cannot be measured: %s", self._problem)

    def _count(self, after: int) -> None:
        while True:
            with self._database.reading() as work:
                happened = work.watch.since(after)
            for field in happened.fields:
                self._happenings.field(field, self._reason)
            for message in happened.messages:
                self._happenings.message(message)
            self._happenings.quarantined.inc(happened.quarantined)
            if happened.until == after:
                return
            after = self._until = happened.until

    def _reason(self, text: str) -> str:
        """The kind of a refusal: what stands before its figures."""
        kind = text.partition(":")[0].partition(" (")[0].strip()
        if kind not in self._reasons and len(self._reasons) >= MOST_REASONS:
            return "other"
        self._reasons.add(kind)
        return kind

    def _drift(self) -> Iterator[Metric]:
        recent = self._percents[: self._settings.drift_cases]
        baseline = self._percents[self._settings.drift_cases :]
        medians = GaugeMetricFamily(
            "sphero_spherocyte_percent_median",
            "Median spherocyte percentage of the latest cases, and of those before them.",
            labels=["window"],
        )
        for window, percents in (("recent", recent), ("baseline", baseline)):
            if percents:
                medians.add_metric([window], statistics.median(percents))
        yield medians
        drift = GaugeMetricFamily(
            "sphero_spherocyte_percent_drift", "Difference of these medians in percentage points, once both are full."
        )
        if len(self._percents) == self._settings.drift_cases + self._settings.baseline_cases:
            drift.add_metric([], statistics.median(recent) - statistics.median(baseline))
        yield drift

    def _of_disks(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("sphero_disk_free_bytes", "Free bytes of the disk of a folder.", labels=["folder"])
        for folder, count in self._disk.free().items():
            free.add_metric([folder], count)
        yield free
        yield _gauge("sphero_disk_stop_bytes", "With less room nothing is taken in.", self._disk.stop_bytes)
        yield _gauge(
            "sphero_intake_stopped", "Whether nothing is taken in for want of room.", self._disk.problem is not None
        )

    def _of_parts(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily("sphero_part_ready", "Whether a part of the service works.", labels=["part"])
        for part, problem in self._machine.parts().items():
            ready.add_metric([part], problem is None)
        yield ready
        restarts = CounterMetricFamily(
            "sphero_part_restarts", "How often a part of the service was begun anew.", labels=["part"]
        )
        for part, count in self._machine.restarts().items():
            restarts.add_metric([part], count)
        yield restarts
        connections = GaugeMetricFamily(
            "sphero_connections",
            "Open connections of a listener; associations of the DICOM receiver.",
            labels=["listener"],
        )
        for listener, count in self._machine.connections().items():
            connections.add_metric([listener], count)
        yield connections


class _Happenings:
    """Counters and histograms of what happened."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._model = Histogram(
            "sphero_field_model_seconds",
            "Seconds of the model for a field, all passes together.",
            buckets=_MODEL_BUCKETS,
            registry=registry,
        )
        self._pass = Histogram(
            "sphero_model_pass_seconds", "Seconds of one model pass.", buckets=_MODEL_BUCKETS, registry=registry
        )
        self._waited = Histogram(
            "sphero_field_turnaround_seconds",
            "Seconds from the arrival of a field to its findings.",
            buckets=_WAIT_BUCKETS,
            registry=registry,
        )
        self._refused = Counter(
            "sphero_quality_refusals",
            "Fields that are not counted, by the kind of the reason.",
            labelnames=["reason"],
            registry=registry,
        )
        self.quarantined = Counter(
            "sphero_quarantined", "Fields and files that could not be used and were put aside.", registry=registry
        )
        self._tried = Counter(
            "sphero_message_attempts",
            "Attempts to send, by what came of them: delivered, retry (rejected for now), unknown (no valid answer), parked (refused).",
            labelnames=["destination", "outcome"],
            registry=registry,
        )
        self._ack = Histogram(
            "sphero_ack_seconds",
            "Seconds until a destination accepted a message.",
            labelnames=["destination"],
            buckets=_ACK_BUCKETS,
            registry=registry,
        )

    def field(self, field: AnalysedField, kind: Callable[[str], str]) -> None:
        self._model.observe(field.seconds)
        self._pass.observe(field.seconds / max(1, field.passes))
        self._waited.observe(field.waited_seconds)
        for reason in field.refused_for:
            self._refused.labels(kind(reason)).inc()

    def message(self, message: TriedMessage) -> None:
        self._tried.labels(message.destination, message.outcome.value).inc()
        if message.ack_seconds is not None:
            self._ack.labels(message.destination).observe(message.ack_seconds)


def _told(standing: Standing, now: float) -> Iterator[Metric]:
    cases = GaugeMetricFamily("sphero_cases", "Cases by state.", labels=["state"])
    oldest = GaugeMetricFamily(
        "sphero_oldest_case_seconds",
        "Since when the case waits whose last image came longest ago, by state; done states are left out.",
        labels=["state"],
    )
    for state, figures in standing.cases.items():
        cases.add_metric([state.value], figures.count)
        if state.value in ("open", "complete", "analysed", "held"):
            age = now - figures.oldest_at.timestamp() if figures.oldest_at else 0.0
            oldest.add_metric([state.value], max(0.0, age))
    yield cases
    yield oldest
    for name, said, label, counts in (
        ("sphero_held_cases", "Cases by the reason for which they are held.", "reason", standing.held),
        ("sphero_fields", "Fields by state.", "state", standing.fields),
        ("sphero_instances", "Received DICOM instances by state.", "state", standing.instances),
        ("sphero_inbound_messages", "Received HL7 messages by state.", "state", standing.inbound),
    ):
        family = GaugeMetricFamily(name, said, labels=[label])
        for key, count in counts.items():
            family.add_metric([key.value], count)
        yield family
    waiting = GaugeMetricFamily(
        "sphero_outbox_messages",
        "Messages that are not done, by destination and state.",
        labels=["destination", "state"],
    )
    unsent = GaugeMetricFamily(
        "sphero_oldest_unsent_seconds",
        "Since when the oldest message waits that is not done, parked ones included.",
        labels=["destination"],
    )
    for destination, outbox in standing.outbox.items():
        for message_state, count in outbox.counts.items():
            waiting.add_metric([destination, message_state.value], count)
        age = now - outbox.oldest_at.timestamp() if outbox.oldest_at else 0.0
        unsent.add_metric([destination], max(0.0, age))
    yield waiting
    yield unsent


def _gauge(name: str, said: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, said)
    family.add_metric([], value)
    return family


def _info(version: str) -> Metric:
    family = GaugeMetricFamily("sphero_build", "The program that answers; always 1.", labels=["version"])
    family.add_metric([version], 1)
    return family
