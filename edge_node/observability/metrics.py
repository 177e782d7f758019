"""The node's metrics as Prometheus sees them: names and labels are in docs/contracts.md, values are read from plain integers when scraped."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from edge_node.model.counters import LATENCY_BOUNDS_SECONDS, Counters, RequestStats
from edge_node.storage.disk.disk_budget import DiskStatistics
from edge_node.storage.protocol import StoreStatistics
from proto.exposition import CounterFamily, Family, GaugeFamily, HistogramFamily, exposition
from proto.message_counts import MessageCounts
from proto.state_files import StateFileStatistics


class Session(Protocol):
    """What is known of the control plane."""

    @property
    def head_index(self) -> int:
        """Newest index in the log."""

    @property
    def reconnects_total(self) -> int:
        """Streams opened after the first."""

    @property
    def rejections_total(self) -> int:
        """Resources rejected."""

    @property
    def message_counts(self) -> MessageCounts:
        """What was exchanged with it."""

    def lease_state(self) -> str:
        """`held`, `expired` or `none`."""

    def lease_remaining_seconds(self) -> float:
        """0 without a lease."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from."""

    facts: dict[str, str]
    counters: Counters
    store: StoreStatistics
    disk: DiskStatistics | None
    session: Session
    applied_index: Callable[[], int]
    open_connections: Callable[[], int]
    is_compiled: bool
    is_fenced: Callable[[], bool]
    files: StateFileStatistics


Totals = dict[tuple[str, ...], int]


def _counter(name: str, text: str, labels: tuple[str, ...], totals: Mapping[tuple[str, ...], int]) -> CounterFamily:
    family = CounterFamily(name, text, labels=labels)
    for label_values, total in totals.items():
        family.add_metric(label_values, total)
    return family


def _total(name: str, text: str, total: int) -> CounterFamily:
    return CounterFamily(name, text, value=total)


def _gauge(name: str, text: str, value: float) -> GaugeFamily:
    return GaugeFamily(name, text, value=value)


class NodeCollector:
    """Reads everything at scrape time."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        """All families."""
        info = GaugeFamily("cdn_node_info", "Which node this is.", labels=tuple(self._sources.facts))
        info.add_metric(tuple(self._sources.facts.values()), 1)
        yield info
        text = "Whether the modules that answer requests were compiled ahead of time."
        yield _gauge("cdn_edge_compiled", text, int(self._sources.is_compiled))
        yield from self._traffic()
        yield from self._upstream()
        yield from self._store()
        yield from self._control()

    def _traffic(self) -> Iterator[Family]:
        counters = self._sources.counters
        requests: Totals = defaultdict(int)
        responses: Totals = {(f"{hundreds}xx",): 0 for hundreds in range(1, 6)}
        transferred: Totals = counters.transferred
        for (result, reason, status), stats in counters.finished.items():
            requests[result, reason] += stats.count
            if status:  # 0: the viewer left before an answer began
                responses[(f"{status // 100}xx",)] += stats.count
            transferred["viewer", "sent"] += stats.sent_bytes
            transferred["viewer", "received"] += stats.received_bytes
        yield _counter(
            "cdn_requests", "Requests by how they ended at this tier, and why.", ("result", "reason"), requests
        )
        yield _counter("cdn_responses", "Responses by class of status.", ("status",), responses)
        yield self._durations(counters.finished)
        yield _counter("cdn_transferred_bytes", "Bytes by peer and direction.", ("peer", "direction"), transferred)
        yield _total("cdn_collapsed_requests", "Requests that waited for another's fetch.", counters.collapsed_requests)
        yield _total("cdn_internal_errors", "Errors of this program.", counters.internal_errors)
        yield _total(
            "cdn_log_records_dropped", "Access log records lost to a full queue.", counters.log_records_dropped
        )
        yield _total("cdn_refused_connections", "Connections beyond the limit.", counters.refused_connections)
        yield _total("cdn_shed_connections", "Idle connections closed for new ones.", counters.shed_connections)
        yield _total("cdn_tunnels", "WebSockets that were opened.", counters.opened_tunnels)
        yield _gauge("cdn_open_tunnels", "Those that are open.", counters.opened_tunnels - counters.closed_tunnels)
        yield _gauge(
            "cdn_open_connections",
            "Connections of viewers, or of edges at a regional cache.",
            self._sources.open_connections(),
        )

    @staticmethod
    def _durations(finished: Mapping[tuple[str, str, int], RequestStats]) -> HistogramFamily:
        family = HistogramFamily(
            "cdn_request_duration_seconds", "From the request's head to the end of its answer.", labels=("result",)
        )
        bounds = [str(bound) for bound in LATENCY_BOUNDS_SECONDS] + ["+Inf"]
        for result in sorted({result for result, _, _ in finished}):
            stats_by_outcome = [stats for (of_result, _, _), stats in finished.items() if of_result == result]
            buckets = [sum(counts) for counts in zip(*(stats.buckets for stats in stats_by_outcome), strict=True)]
            family.add_buckets(
                (result,),
                list(zip(bounds, accumulate(buckets), strict=True)),
                sum(stats.sum_seconds for stats in stats_by_outcome),
            )
        return family

    def _upstream(self) -> Iterator[Family]:
        counters = self._sources.counters
        fetches: Totals = {(tier,): count for tier, count in counters.upstream_fetches.items()}
        yield _counter("cdn_upstream_fetches", "Requests sent upstream.", ("tier",), fetches)
        yield _counter("cdn_upstream_errors", "Upstream failures.", ("tier", "kind"), counters.upstream_errors)
        waits: Totals = {(tier,): count for tier, count in counters.upstream_waits.items()}
        yield _counter("cdn_upstream_waits", "Requests that waited for a connection to be free.", ("tier",), waits)
        text = "Times that a regional cache was left out for a while."
        yield _total("cdn_upstream_ejections", text, counters.upstream_ejections)

    def _store(self) -> Iterator[Family]:
        store = self._sources.store
        yield _gauge("cdn_store_bytes", "What stored responses cost.", store.used_bytes)
        yield _gauge("cdn_store_capacity_bytes", "What they may cost.", store.capacity_bytes)
        yield _gauge("cdn_store_entries", "Stored responses.", store.entries)
        yield _total("cdn_store_evictions", "Stored responses that left for others.", store.evictions)

        if self._sources.disk is not None:
            yield from self._disk(self._sources.disk)

    @staticmethod
    def _disk(disk: DiskStatistics) -> Iterator[Family]:
        yield _gauge("cdn_disk_bytes", "What the disk tier takes.", disk.used_bytes)
        yield _gauge("cdn_disk_capacity_bytes", "What it may take.", disk.capacity_bytes)
        yield _gauge("cdn_disk_entries", "Responses on disk.", disk.records)
        yield _total("cdn_disk_evictions", "Responses that left the disk for others.", disk.evictions)
        yield _total("cdn_disk_recovered", "Responses that were found at the start.", disk.recovered_records)
        yield _total("cdn_disk_corrupt", "Responses lost to damage, none of which was served.", disk.corrupt_records)
        yield _total("cdn_disk_lost", "Undamaged responses given up with their file.", disk.lost_records)
        errors: Totals = {("write",): disk.write_errors, ("read",): disk.read_errors}
        yield _counter("cdn_disk_errors", "Reads and writes that failed.", ("operation",), errors)
        yield _total("cdn_disk_refused", "Bodies for which there was no room.", disk.refused_bodies)

    def _control(self) -> Iterator[Family]:
        session = self._sources.session
        applied = self._sources.applied_index()
        yield _gauge("cdn_applied_index", "Newest log entry that is applied.", applied)
        yield _gauge(
            "cdn_log_lag_entries", "Entries in the log that are not applied yet.", max(0, session.head_index - applied)
        )
        yield _gauge("cdn_lease_held", "Whether the node holds a lease.", int(session.lease_state() == "held"))
        yield _gauge(
            "cdn_fenced", "Whether the control plane has gone on without this node.", int(self._sources.is_fenced())
        )
        yield _gauge("cdn_lease_remaining_seconds", "Until the lease ends.", session.lease_remaining_seconds())
        yield _total("cdn_sync_reconnects", "Streams to the control plane after the first.", session.reconnects_total)
        yield _total("cdn_sync_rejections", "Resources that were rejected.", session.rejections_total)
        kinds, counts = ("direction", "kind"), session.message_counts
        yield _counter("cdn_sync_messages", "Messages to and from control planes.", kinds, counts.messages)
        yield _counter("cdn_sync_message_bytes", "Their sizes.", kinds, counts.bytes_of_messages)
        files = self._sources.files
        yield _total("cdn_state_files_refused", "State files found damaged at the start.", files.refused_total)
        yield _total("cdn_state_write_failures", "Writes of state files that failed.", files.write_failures_total)


def make_exposition(sources: Sources) -> Callable[[], bytes]:
    """A function that renders all metrics as Prometheus text."""
    collector = NodeCollector(sources)
    return lambda: exposition(collector.collect())
