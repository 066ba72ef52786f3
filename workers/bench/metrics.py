"""What a bench tells Prometheus of how it stands: its coordinator, its room, and who is under way.

Guarantees: no label names a device, and nothing is asked of the coordinator or the ledger for it. The counters beside it
(in transfer, bench and link) begin anew with the process: what became of devices is the ledger's to tell, by the exporter.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

from hanwave.settings import Bench, Metrics
from workers.bench.link import Link
from workers.bench.transfer import Stage

_PREFIX = "hanwave_bench_"


class Standing(Collector):
    """A bench as it stands at each scrape."""

    def __init__(self, link: Link, settings: Bench) -> None:
        self._link, self._settings = link, settings

    def describe(self) -> Iterable[Metric]:
        """Nothing: its names are its own."""
        return []

    def collect(self) -> Iterator[Metric]:
        """How it stands; of a coordinator that is not there, that alone."""
        about = self._settings.name, self._settings.radio
        yield _gauge("info", "A bench, always 1", {about: 1}, ("bench", "radio"))
        bench = self._link.bench
        yield _gauge("coordinator_up", "1 while the bench has its coordinator", {(): bench is not None})
        if bench is None:
            return
        yield _gauge("devices", "Devices on the coordinator's network", {(): bench.joined})
        yield _gauge(
            "shares",
            "How many devices that listen have room at once; one that sleeps takes four",
            {(): bench.admission.shares},
        )
        yield _gauge("shares_free", "How many of them are free", {(): bench.admission.free})
        stages = Counter(transfer.stage for transfer in bench.transfers)
        counts: dict[tuple[str, ...], float] = {
            (str(stage),): stages[stage] for stage in Stage if stage is not Stage.ENDED
        }
        yield _gauge("transfers", "Transfers under way, by where they are", counts, ("stage",))


def _gauge(name: str, told: str, values: dict[tuple[str, ...], float], labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, told, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def serve(metrics: Metrics, link: Link, settings: Bench) -> None:
    """Serve them for as long as the process lasts; nothing where no port is set."""
    if metrics.bench:
        REGISTRY.register(Standing(link, settings))
        start_http_server(metrics.bench, metrics.host)
