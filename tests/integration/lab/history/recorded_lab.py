"""A small lab of real programs whose run is recorded, with a viewer who counts for himself, and with what becomes of nodes in the middle of a run."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.clients.http_client import Reply, UnreachableError, ask, get_json
from lab.cluster.running_processes import RunningProcesses
from lab.history.recording import RecordedNode
from lab.topology.layout import Role
from proto.history_file import HistoryFile
from proto.host_clock import host_nanoseconds

EDGE_1, EDGE_2 = "edge-iad89-p1-1", "edge-iad89-p1-2"


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer that the viewer has had as a whole."""

    edge: str
    path: str
    request_id: str
    status: int
    started_ns: int
    ended_ns: int


@dataclass
class Viewer:
    """Asks edges, and writes down each whole answer."""

    lab: RunningProcesses
    host: str
    seen: list[Seen] = field(default_factory=list)

    def get(self, edge: str, path: str, *fields: tuple[str, str]) -> Reply:
        """UnreachableError when no whole answer comes."""
        started_ns = host_nanoseconds()
        reply = ask(self.lab.addresses(edge).http, path, headers=[("host", self.host), *fields])
        seen = Seen(edge, path, reply.headers["x-amz-cf-id"], reply.status, started_ns, host_nanoseconds())
        self.seen.append(seen)
        return reply

    def get_until_it_fails(self, edge: str, enough: threading.Event) -> None:
        """As fast as it goes; `enough` is set after a hundred answers."""
        for number in range(1_000_000):
            try:
                self.get(edge, f"/images/{1 + number % 4}.svg")
            except UnreachableError:
                return
            if number == 100:
                enough.set()


def recorded_nodes(lab: RunningProcesses) -> list[RecordedNode]:
    return [RecordedNode(node.id, node.admin) for node in lab.nodes() if node.role is not Role.WAN]


def wait_for_rows(lab: RunningProcesses, node: str, table: str, count: int) -> None:
    """Until the node says that so many are written."""
    for _ in range(2_000):
        document = get_json(lab.addresses(node).admin, "/history")
        if document["rows"].get(table, 0) >= count:
            return
        threading.Event().wait(0.01)  # a node flushes ten times a second
    raise AssertionError(f"{node} has written no {count} rows of {table}: {document}")


def write_requests(viewer: Viewer, folder: Path, columns: tuple[str, ...]) -> None:
    """The viewer's own account as the table `requests`, like the load generator's."""
    folder.mkdir(parents=True)
    file = HistoryFile(folder / "requests.tsv", columns)
    for number, seen in enumerate(viewer.seen):
        values: dict[str, Any] = {
            "id": f"viewer:{number}",
            "request_id": seen.request_id,
            "region": "us-east-1",
            "intended_ns": seen.started_ns,
            "started_ns": seen.started_ns,
            "ended_ns": seen.ended_ns,
            "method": "GET",
            "host": viewer.host,
            "path": seen.path,
            "status": seen.status,
        }
        file.add(tuple(values.get(name) for name in columns))
    file.close()


def origin_log(lab: RunningProcesses) -> list[dict[str, Any]]:
    """What the origin was asked, as it tells itself."""
    document = get_json(lab.addresses("origin-1").admin, "/requests?limit=1000")
    assert document["total"] == len(document["requests"])
    found: list[dict[str, Any]] = document["requests"]
    return found
