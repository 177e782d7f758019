"""Prometheus metrics of the control plane; docs/contracts.md has the names."""

from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control_plane.coordination import Coordinator
from control_plane.nodes import NodeRecord, ResourceKind
from control_plane.receipts import Receipt

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is read at each scrape."""

    coordinator: Callable[[], Coordinator | None]
    """None: this control plane does not lead. What the coordinator has counted is of its term."""
    head_index: Callable[[], int]
    takes_writes: Callable[[], bool]
    refused_total: Callable[[], int]
    failed_handshakes_total: Callable[[], int]


class ControlMetrics:
    """Counts what passes and reads the rest when asked."""

    def __init__(self, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_FleetCollector(gauges))
        self._requests = Counter(
            "cdn_control_api_requests_total",
            "Requests to the management API.",
            ("operation", "outcome"),
            registry=self._registry,
        )
        self._durations = Histogram(
            "cdn_control_invalidation_duration_seconds",
            "From the commit of an invalidation until every live node had acknowledged it; without those committed before the machine was started anew.",
            buckets=DURATION_BUCKETS,
            registry=self._registry,
        )

    def invalidation_completed(self, receipt: Receipt) -> None:
        """Count a completed receipt."""
        seconds = receipt.seconds_after_issue(receipt.completed_at)
        if seconds is not None:
            self._durations.observe(seconds)

    def exposition(self) -> bytes:
        """Prometheus text."""
        return generate_latest(self._registry)

    def request_answered(self, operation: str, outcome: str) -> None:
        """Count a request to the management API, which runs in a process of its own."""
        self._requests.labels(operation, outcome).inc()


class _FleetCollector(Collector):
    """Gauges that are true at the moment of the scrape."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        coordinator = self._gauges.coordinator()
        records = () if coordinator is None else coordinator.nodes.values()
        yield _nodes(records)
        yield _rejections(records)
        yield CounterMetricFamily(
            "cdn_control_refused_nodes",
            "Streams refused because the certificate is not that of the node that it was said to be.",
            value=self._gauges.refused_total(),
        )
        yield CounterMetricFamily(
            "cdn_control_failed_handshakes",
            "TLS handshakes on the port for nodes that came to nothing: no certificate or one of another lab, or no end within their time.",
            value=self._gauges.failed_handshakes_total(),
        )
        yield CounterMetricFamily(
            "cdn_control_nodes_started_over",
            "Nodes that got a snapshot because their configuration was not the log's.",
            value=0 if coordinator is None else coordinator.started_over_total,
        )
        yield CounterMetricFamily(
            "cdn_control_processes_set_aside",
            "Processes that another one under the name of the same node has taken the place of, and that may still run.",
            value=0 if coordinator is None else coordinator.succession.set_aside_total,
        )
        yield CounterMetricFamily(
            "cdn_control_refused_processes",
            "Processes refused because another one spoke for the same node.",
            value=0 if coordinator is None else coordinator.succession.refused_total,
        )
        head_index, takes_writes = self._gauges.head_index(), self._gauges.takes_writes()
        yield GaugeMetricFamily(
            "cdn_control_leader",
            "1 while this control plane leads those of its database.",
            value=coordinator is not None,
        )
        yield GaugeMetricFamily("cdn_control_head_index", "Newest index in the change log.", value=head_index)
        yield GaugeMetricFamily(
            "cdn_control_database_writable", "1 while the database takes writes.", value=takes_writes
        )


def _nodes(records: Collection[NodeRecord]) -> Metric:
    nodes = GaugeMetricFamily("cdn_control_nodes", "Nodes that are known.", labels=("role", "state"))
    tally = Tally((record.description.role.name.lower(), record.state) for record in records)
    for labels, count in sorted(tally.items()):
        nodes.add_metric(labels, count)
    return nodes


def _rejections(records: Collection[NodeRecord]) -> Metric:
    """A line for each kind, so that 0 is seen as well."""
    rejections = GaugeMetricFamily(
        "cdn_control_rejections",
        "Resources that nodes with a lease refuse, counted for each of those nodes.",
        labels=("kind",),
    )
    tally = Tally(r.kind for node in records if node.is_live for r in node.rejections)
    for kind in ResourceKind:
        rejections.add_metric((kind.name.lower(),), tally[kind])
    return rejections
