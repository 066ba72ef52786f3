"""The exporter: `python -m workers.exporter`. It reads the ledger every few seconds, and shows Prometheus what it read.

Guarantees: a scrape asks no database, so that whoever scrapes costs the ledger nothing; counters are the ledger's own
totals, and so survive every restart; what could not be read is not shown, rather than shown as it was; and no other process
waits for this one, or needs it.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from prometheus_client import start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from hanwave.ledger import database, gauges, metrics, refusal_counts
from hanwave.ledger.gauges import Bounds, Figure, Reading
from hanwave.settings import Settings, needed
from workers.process import run

PREFIX = "hanwave_"
FLEET_SHARE = 100
"""The fleet is counted row by row: again after a hundred times as long as that took, some half a minute for a million."""
FLEET_SOONEST = timedelta(seconds=5)
_OFF = "_sum"
_LOG = logging.getLogger("hanwave.exporter")


@dataclass(slots=True)
class Shown:
    """What was read last: the figures, the counters' totals, and when."""

    at: datetime
    took: float
    readings: list[Reading] = field(default_factory=list)
    refusals: list[Reading] = field(default_factory=list)
    totals: Mapping[str, Mapping[tuple[str, ...], float]] = field(default_factory=dict)
    campaigns: frozenset[str] = frozenset()


class LedgerCollector(Collector):
    """Reads the ledger when told to, and shows what it read until the next reading, or failure, replaces it."""

    def __init__(self, ledger: Engine, bounds: Bounds) -> None:
        """Nothing is read yet."""
        self._ledger = ledger
        self._bounds = bounds
        self._fleet: list[Reading] = []
        self._fleet_due = datetime.min.replace(tzinfo=UTC)
        self.shown: Shown | None = None
        self.failed = 0

    def refresh(self, now: datetime) -> None:
        """Count what was chained since, and read everything; on a failure nothing is shown until the next time."""
        began = time.monotonic()
        try:
            metrics.catch_up(self._ledger)
            with self._ledger.begin() as connection:
                refusal_counts.roll_up(connection)
                metrics.look(connection)
            shown = self._read(now)
        except SQLAlchemyError as error:
            self._fail("the ledger cannot be read: %s", error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the next reading may do better
            self._fail("what the ledger has cannot be shown: %r", error)
            return
        shown.took = time.monotonic() - began
        self.shown = shown

    def _fail(self, why: str, error: Exception) -> None:
        self.shown, self.failed = None, self.failed + 1
        _LOG.warning(why, error)

    def _read(self, now: datetime) -> Shown:
        with self._ledger.connect() as plain:
            # One snapshot for all of it: the sums agree with one another.
            connection = plain.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                connection.execute(text("SET TRANSACTION READ ONLY"))
                if now >= self._fleet_due:
                    self._count_fleet(connection, now)
                readings = gauges.read(connection, now, self._bounds)
                refused, totals = gauges.refusals(connection), metrics.totals(connection)
        known = frozenset(r.labels[0] for r in readings if r.name == "campaign_info") | {""}
        return Shown(now, 0.0, [*readings, *self._fleet], refused, totals, known)

    def _count_fleet(self, connection: Connection, now: datetime) -> None:
        began = time.monotonic()
        self._fleet = gauges.fleet(connection, self._bounds)
        took = timedelta(seconds=time.monotonic() - began)
        self._fleet_due = now + max(FLEET_SOONEST, took * FLEET_SHARE)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the ledger."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What was read last, as Prometheus has it."""
        up = GaugeMetricFamily(f"{PREFIX}exporter_reading", "1 where the ledger could be read the last time")
        up.add_metric([], self.shown is not None)
        failures = CounterMetricFamily(f"{PREFIX}exporter_failures", "Readings of the ledger that failed")
        failures.add_metric([], self.failed)
        yield from (up, failures)
        shown = self.shown
        if shown is None:
            return
        yield _single("exporter_read_timestamp_seconds", "When the ledger was read", shown.at.timestamp())
        yield _single("exporter_read_duration_seconds", "How long the last reading took", shown.took)
        yield from _gauges(shown.readings)
        yield _counter(gauges.REFUSED, {r.labels: r.value for r in shown.refusals}, shown.campaigns)
        for counted in metrics.COUNTED:
            if "le" in counted.labels:
                yield _histogram(counted, shown.totals)
            elif not counted.name.endswith(_OFF):
                figure = Figure(counted.name, counted.help, counted.labels)
                yield _counter(figure, shown.totals.get(counted.name, {}), shown.campaigns)


def _single(name: str, told: str, value: float) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, told)
    family.add_metric([], value)
    return family


def _gauges(readings: Iterable[Reading]) -> Iterator[Metric]:
    by_name: defaultdict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        by_name[reading.name].append(reading)
    for name, figure in gauges.FIGURES.items():
        family = GaugeMetricFamily(PREFIX + name, figure.help, labels=figure.labels)
        for reading in by_name[name]:
            family.add_metric(reading.labels, reading.value)
        yield family


def _counter(figure: Figure, totals: Mapping[tuple[str, ...], float], campaigns: frozenset[str]) -> Metric:
    """A counter; where it is told by campaign, without those that are over for long."""
    family = CounterMetricFamily(PREFIX + figure.name, figure.help, labels=figure.labels)
    for labels, value in sorted(totals.items()):
        if figure.labels[0] != "campaign" or labels[0] in campaigns:
            family.add_metric(labels, value)
    return family


def _histogram(counted: metrics.Counted, totals: Mapping[str, Mapping[tuple[str, ...], float]]) -> Metric:
    bounds = [*map(str, metrics.BOUNDS), "+Inf"]
    found: defaultdict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0] * len(bounds))
    for (*labels, bucket), value in totals.get(counted.name, {}).items():
        found[tuple(labels)][int(bucket)] += value
    family = HistogramMetricFamily(PREFIX + counted.name, counted.help, labels=counted.labels[:-1])
    for key, buckets in sorted(found.items()):
        total = totals[counted.name + _OFF][key]
        family.add_metric(key, buckets=list(zip(bounds, accumulate(buckets), strict=True)), sum_value=total)
    return family


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Read the ledger every few seconds until told to stop."""
    ledger = database.engine(needed(settings.postgres, "postgres").dsn.get_secret_value(), pool=2)
    told = settings.metrics
    port = needed(told.exporter, "metrics.exporter")
    collector = LedgerCollector(ledger, Bounds(timedelta(days=told.keep_closed), told.models))
    await asyncio.to_thread(collector.refresh, datetime.now(UTC))
    REGISTRY.register(collector)
    server, thread = start_http_server(port, told.host)
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), told.refresh)
        except TimeoutError:
            await asyncio.to_thread(collector.refresh, datetime.now(UTC))
    server.shutdown()
    await asyncio.to_thread(thread.join)
    ledger.dispose()


if __name__ == "__main__":
    run(main)
