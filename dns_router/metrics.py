"""What operators see: the Prometheus metrics of docs/contracts.md and the `/status` document.

Read from plain integers at the time of asking; nothing here is on the path of a query.
"""

from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Final

from dns_router.counters import Counters
from dns_router.responder import Responder
from proto.exposition import CounterFamily, Family, GaugeFamily, exposition
from proto.host_clock import take_anchor
from proto.message_counts import MessageCounts
from proto.node_session import NodeIdentity, NodeSession
from proto.state_files import StateFileStatistics

ROLE: Final = "dns_router"


def installed_version() -> str:
    """The version of cdnlab; a source tree that is not installed has none."""
    try:
        return metadata.version("cdnlab")
    except metadata.PackageNotFoundError:
        return "unknown"


class NodeReport:
    """The state of this router, in the two forms in which it is asked for."""

    def __init__(
        self,
        identity: NodeIdentity,
        session: NodeSession,
        responder: Responder,
        counters: Counters,
        files: StateFileStatistics,
        clock_ahead_seconds: Callable[[], float],
    ) -> None:
        self._clock_ahead_seconds = clock_ahead_seconds
        self._files = files
        self._identity = identity
        self._session = session
        self._responder = responder
        self._counters = counters
        self._version = installed_version()
        self._anchor = take_anchor()

    def exposition(self) -> bytes:
        """The Prometheus text."""
        return exposition(self.collect())

    def status(self) -> dict[str, object]:
        """The `/status` document."""
        session, directory = self._session, self._responder.directory
        return {
            "id": self._identity.node_id,
            "role": ROLE,
            "region": self._identity.region,
            "pop": self._identity.pop,
            "dns": self._identity.http_address,
            "applied_index": session.applied_index,
            "head_index": session.head_index,
            "log_id": session.log_id,
            "lease": session.lease_state(),
            "lease_remaining_seconds": round(session.lease_remaining_seconds(), 3),
            "clock": self._anchor.to_json(),
            "clock_ahead_seconds": self._clock_ahead_seconds(),
            "connected": session.is_connected,
            "is_ready": self.is_ready(),
            "live_edge_addresses": len({a for group in directory.addresses.values() for a in group}),
            "queries_total": self._counters.total(),
            "rejections": session.rejections(),
            "state_files": self._files.to_json(),
            "reasons": {reason.value: count for reason, count in sorted(self._counters.by_reason().items())},
        }

    def is_ready(self) -> bool:
        """Whether the zone is known, from the control plane or from disk."""
        return self._responder.zone is not None

    def collect(self) -> Iterator[Family]:
        """All families."""
        identity = self._identity
        info = GaugeFamily(
            "cdn_node_info", "Who this node is; always 1.", labels=["node", "role", "region", "pop", "version"]
        )
        info.add_metric([identity.node_id, ROLE, identity.region, identity.pop, self._version], 1)
        yield info
        yield self._queries()
        yield _gauge("cdn_open_connections", "Open TCP connections.", self._counters.open_connections)
        yield from self._session_metrics()
        yield CounterFamily(
            "cdn_state_files_refused", "State files found damaged at the start.", value=self._files.refused_total
        )
        yield CounterFamily(
            "cdn_state_write_failures", "Writes of state files that failed.", value=self._files.write_failures_total
        )

    def _queries(self) -> Family:
        queries = CounterFamily("cdn_dns_queries", "DNS messages received.", labels=["type", "outcome"])
        for (record_type, outcome), count in sorted(self._counters.by_outcome().items()):
            queries.add_metric([record_type, outcome.value], count)
        return queries

    def _session_metrics(self) -> Iterator[Family]:
        session = self._session
        lag = max(0, session.head_index - session.applied_index)
        is_held = session.lease_state() == "held"
        remaining_seconds = session.lease_remaining_seconds()
        yield _gauge("cdn_applied_index", "Highest applied index of the change log.", session.applied_index)
        yield _gauge("cdn_log_lag_entries", "Entries of the change log not yet applied.", lag)
        yield _gauge("cdn_lease_held", "1 while the node holds a lease.", is_held)
        yield _gauge("cdn_lease_remaining_seconds", "Time until the lease runs out.", remaining_seconds)
        yield CounterFamily(
            "cdn_sync_reconnects", "Streams to the control plane after the first.", value=session.reconnects_total
        )
        yield CounterFamily("cdn_sync_rejections", "Resources that this node refused.", value=session.rejections_total)
        yield from _message_counts(session.message_counts)


def _message_counts(counts: MessageCounts) -> Iterator[Family]:
    messages = CounterFamily("cdn_sync_messages", "Messages to and from control planes.", labels=("direction", "kind"))
    sizes = CounterFamily("cdn_sync_message_bytes", "Their sizes.", labels=("direction", "kind"))
    for family, totals in ((messages, counts.messages), (sizes, counts.bytes_of_messages)):
        for labels, total in totals.items():
            family.add_metric(labels, total)
        yield family


def _gauge(name: str, documentation: str, value: float) -> Family:
    return GaugeFamily(name, documentation, value=value)
