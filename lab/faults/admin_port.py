"""Faults that a program takes on its admin port, each with a lease of its own: injected by POST, ended by DELETE. The same for origins and for all others."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.clients.http_client import Reply, UnreachableError, ask, get_json
from lab.cluster.interface import Cluster
from lab.errors import LabError
from lab.faults.lease import Memory
from lab.faults.parameters import Value
from lab.faults.process import is_running

_TIMEOUT_SECONDS = 2.0
# A fault whose agent is away ends by itself not long after its lease, and never before the agent has ended it.
_MARGIN_SECONDS = 1.0
_LONGEST_SECONDS = 3600.0
_JSON = [("content-type", "application/json")]

Document = Callable[[Mapping[str, Value]], dict[str, object]]
"""What is posted, but for the lease, from the fault's parameters."""


@dataclass(frozen=True, slots=True)
class Posting:
    """Where a fault is posted, and what: `path` lists them as well, as `member` of an object, and each has an `id`."""

    path: str
    member: str
    document: Document
    absent: str = ""
    """What to say where there is no such path."""

    def inject(self, lab: Cluster, node_id: str, parameters: Mapping[str, Value]) -> Memory:
        """The program has it when this returns."""
        reply = _ask(lab, node_id, "POST", self.path, json.dumps(self._leased(parameters)).encode())
        if reply.status == 404 and self.absent:
            raise LabError(f"{node_id} {self.absent}")
        if reply.status != 201:
            raise LabError(f"{node_id} refuses the fault: {_said(reply)}")
        return {"id": str(json.loads(reply.body)["id"])}

    def undo(self, lab: Cluster, node_id: str, parameters: Mapping[str, Value], memory: Memory) -> None:
        """With a process that has ended, its faults have."""
        if not is_running(lab, node_id):
            return
        known = memory.get("id")
        ids = [str(known)] if known else self._same(lab, node_id, self._leased(parameters))
        for each in ids:
            reply = _ask(lab, node_id, "DELETE", f"{self.path}/{each}")
            if reply.status not in (200, 404):
                raise LabError(f"{node_id} does not end the fault: {_said(reply)}")

    def _leased(self, parameters: Mapping[str, Value]) -> dict[str, object]:
        lease_seconds = min(float(parameters["lease_seconds"]) + _MARGIN_SECONDS, _LONGEST_SECONDS)
        return {**self.document(parameters), "lease_seconds": lease_seconds}

    def _same(self, lab: Cluster, node_id: str, document: Mapping[str, object]) -> list[str]:
        """Whoever injected it was killed before it could write down which one it is."""
        try:
            found = get_json(lab.addresses(node_id).admin, self.path, _TIMEOUT_SECONDS)
        except UnreachableError as error:
            raise LabError(f"{node_id} does not answer: {error}") from error
        listed: list[dict[str, Any]] = found[self.member]
        return [each["id"] for each in listed if all(each.get(name) == value for name, value in document.items())]


def _ask(lab: Cluster, node_id: str, method: str, path: str, body: bytes | None = None) -> Reply:
    address = lab.addresses(node_id).admin
    try:
        return ask(address, path, method=method, headers=_JSON, body=body, timeout_seconds=_TIMEOUT_SECONDS)
    except UnreachableError as error:
        raise LabError(f"{node_id} does not answer: {error}") from error


def _said(reply: Reply) -> str:
    return f"status {reply.status}: {reply.body[:200].decode('utf-8', 'replace').strip()}"
