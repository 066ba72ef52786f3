"""The emulator's counts for Prometheus: a prefix of their own, so that nobody takes them for the DCC's or hanwave's."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import CollectorRegistry

__all__ = ["CONTENT_TYPE", "text"]
PREFIX = "hanwave_emulator_"
_GAUGES = {
    "devices": ("Emulated devices", ("type", "status")),
    "deliveries": ("Messages to the supplier, by how far they are", ("state",)),
    "due": ("Things that will happen to devices", ()),
    "quarantined": ("Requests that the emulator holds", ()),
}
_COUNTERS = {
    "requests": ("Service Requests that arrived, by the code that they were answered with", ("service", "code")),
    "reposts": ("POSTs of a request that was there already", ()),
    "violations": ("Breaches of the protocol that the emulator noticed", ()),
}


def text(stats: Mapping[str, Any]) -> bytes:
    """Those counts (`books.stats`) in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Stats(stats))
    return generate_latest(registry)


class _Stats:
    def __init__(self, stats: Mapping[str, Any]) -> None:
        self._stats = stats

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        found = [self._filled(GaugeMetricFamily, name, *told) for name, told in _GAUGES.items()]
        return found + [self._filled(CounterMetricFamily, name, *told) for name, told in _COUNTERS.items()]

    def _filled(self, made: Any, name: str, told: str, labels: tuple[str, ...]) -> Any:
        family, held = made(PREFIX + name, told, labels=labels), self._stats[name]
        for key, value in held.items() if labels else [("", held)]:
            family.add_metric(key.split("/") if labels else [], value)
        return family
