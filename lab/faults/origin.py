"""Faults of an origin's answers, through `/behaviors` on its admin port (docs/origin.md). They end there by a lease of the origin's own, too."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from lab.clients.http_client import Reply, UnreachableError, ask, get_json
from lab.cluster.interface import Cluster
from lab.errors import LabError
from lab.faults.lease import Memory
from lab.faults.parameters import NO_FIELD_NAMES, Value
from lab.faults.process import is_running

Does = Callable[[Mapping[str, Value]], dict[str, object]]
"""What of a behavior says what it does, from the fault's parameters."""

_TIMEOUT_SECONDS = 2.0
# A fault whose agent is away ends by itself not long after its lease, and never before the agent has ended it.
_MARGIN_SECONDS = 1.0
_LONGEST_SECONDS = 3600.0
CONSTANT_ETAG = '"constant"'
"""Strong, so that ranges are resumed by it."""
_JSON = [("content-type", "application/json")]


def behave(does: Does) -> Callable[[Cluster, str, Mapping[str, Value]], Memory]:
    """The injection of a fault that is a behavior."""

    def inject(lab: Cluster, node_id: str, parameters: Mapping[str, Value]) -> Memory:
        document = _behavior(does, parameters)
        reply = _ask(lab, node_id, "POST", "/behaviors", json.dumps(document).encode())
        if reply.status != 201:
            raise LabError(f"{node_id} refuses the fault: {_said(reply)}")
        return {"behavior": str(json.loads(reply.body)["id"])}

    return inject


def stop_behaving(does: Does) -> Callable[[Cluster, str, Mapping[str, Value], Memory], None]:
    """Its undoing. With a process that has ended, its behaviors have."""

    def undo(lab: Cluster, node_id: str, parameters: Mapping[str, Value], memory: Memory) -> None:
        if not is_running(lab, node_id):
            return
        known = memory.get("behavior")
        ids = [str(known)] if known else _same(lab, node_id, _behavior(does, parameters))
        for each in ids:
            reply = _ask(lab, node_id, "DELETE", f"/behaviors/{each}")
            if reply.status not in (200, 404):
                raise LabError(f"{node_id} does not end the fault: {_said(reply)}")

    return undo


def vary_of(names: Value) -> str | None:
    """The field's value; None where there is to be none."""
    return None if names == NO_FIELD_NAMES else str(names)


def _behavior(does: Does, parameters: Mapping[str, Value]) -> dict[str, object]:
    lease = min(float(parameters["lease_seconds"]) + _MARGIN_SECONDS, _LONGEST_SECONDS)
    chance = {"path_prefix": parameters["path"], "probability": parameters["probability"]}
    return {**does(parameters), **chance, "lease_seconds": lease}


def _same(lab: Cluster, node_id: str, document: Mapping[str, object]) -> list[str]:
    """Whoever injected it was killed before it could write down which one it is."""
    try:
        listed: list[dict[str, Any]] = get_json(lab.addresses(node_id).admin, "/behaviors", _TIMEOUT_SECONDS)[
            "behaviors"
        ]
    except UnreachableError as error:
        raise LabError(f"{node_id} does not answer: {error}") from error
    return [each["id"] for each in listed if all(each.get(name) == value for name, value in document.items())]


def _ask(lab: Cluster, node_id: str, method: str, path: str, body: bytes | None = None) -> Reply:
    address = lab.addresses(node_id).admin
    try:
        return ask(address, path, method=method, headers=_JSON, body=body, timeout_seconds=_TIMEOUT_SECONDS)
    except UnreachableError as error:
        raise LabError(f"{node_id} does not answer: {error}") from error


def _said(reply: Reply) -> str:
    return f"status {reply.status}: {reply.body[:200].decode('utf-8', 'replace').strip()}"
