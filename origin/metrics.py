"""Counters as plain integers, and the collector that turns them into Prometheus text at scrape time (names: docs/contracts.md)."""

from collections.abc import Iterator
from typing import Protocol

from origin.scenarios import KINDS
from proto.exposition import CounterFamily, Family, GaugeFamily

VERSION = "0.1.0"
_STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")


class Counters:
    """What is counted on the hot path. Status classes are indexed by their first digit."""

    __slots__ = ("requests", "sent_bytes")

    def __init__(self) -> None:
        self.requests = {kind: [0] * 6 for kind in KINDS}
        self.sent_bytes = dict.fromkeys(KINDS, 0)


class Gauges(Protocol):
    """What is looked up at scrape time."""

    def open_connections(self) -> int:
        """Connections to the content port."""


class OriginCollector:
    """The metrics of one origin."""

    def __init__(self, node_id: str, counters: Counters, gauges: Gauges) -> None:
        self._node_id = node_id
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Family]:
        """All families."""
        info = GaugeFamily("cdn_node_info", "What this node is.", labels=("node", "role", "region", "pop", "version"))
        info.add_metric((self._node_id, "origin", "", "", VERSION), 1)
        yield info
        requests = CounterFamily("cdn_origin_requests", "Requests by kind of content.", labels=("kind", "status"))
        sent = CounterFamily("cdn_origin_response_bytes", "Body bytes sent by kind of content.", labels=("kind",))
        for kind in KINDS:
            for digit, status in enumerate(_STATUS_CLASSES, start=2):
                requests.add_metric((kind, status), self._counters.requests[kind][digit])
            sent.add_metric((kind,), self._counters.sent_bytes[kind])
        yield requests
        yield sent
        connections = GaugeFamily("cdn_open_connections", "Open connections to the content port.")
        connections.add_metric((), self._gauges.open_connections())
        yield connections
