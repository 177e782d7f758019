"""Moves the lab's clock, and waits until every live node has acknowledged the entry of the log that says so: its receipt (docs/time-travel.md)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.agent.client import AgentClient, Document
from lab.clients.http_client import UnreachableError, get_json
from lab.cluster.interface import Cluster
from lab.errors import LabError
from lab.topology.layout import CONTROL_PLANE_ID

_MARGIN_SECONDS = 10.0
"""On top of a lease, after which a node that says nothing is not live any more."""
_LOOK_SECONDS = 0.02
_KIND = "lab_clock"


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What became of it at one node: `acknowledged`, `refused`, `waiting`, or `away` (no lease: it gets it before it serves with one)."""

    id: str
    state: str
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """As scripts get it."""
        return {"id": self.id, "state": self.state, "reason": self.reason or None}


@dataclass(frozen=True, slots=True)
class Travel:
    """What the agent says of it, and what became of it at each node."""

    moved: Document
    answers: tuple[NodeAnswer, ...]
    seconds: float

    @property
    def is_done(self) -> bool:
        """Whether every live node follows."""
        return all(each.state in ("acknowledged", "away") for each in self.answers)


def move_time(lab: Cluster, agent: AgentClient, seconds: float) -> Travel:
    """LabError when it cannot be done, or nobody says who follows."""
    admin, lease_seconds = lab.addresses(CONTROL_PLANE_ID).admin, lab.facts.lease_seconds
    began = time.monotonic()
    moved = agent.move_clock(seconds)
    answers = wait_for_all(lambda: _ask(admin), int(moved["index"]), began + lease_seconds + _MARGIN_SECONDS)
    return Travel(moved, tuple(answers), time.monotonic() - began)


def wait_for_all(look: Callable[[], Document], index: int, deadline: float) -> list[NodeAnswer]:
    """Until no live node is waited for, or the deadline (of time.monotonic) has come."""
    while True:
        answers = answers_at(look(), index)
        if all(each.state != "waiting" for each in answers) or time.monotonic() >= deadline:
            return answers
        time.sleep(_LOOK_SECONDS)


def answers_at(status: Document, index: int) -> list[NodeAnswer]:
    """Of all nodes that the control plane knows, from its `/status`."""
    return [_answer(node, index) for node in status["nodes"]]


def _answer(node: dict[str, Any], index: int) -> NodeAnswer:
    if node["state"] != "live":
        return NodeAnswer(node["id"], "away")
    if node["acknowledged_index"] < index:
        return NodeAnswer(node["id"], "waiting", "has not acknowledged it" if node["connected"] else "is not connected")
    refusal = next((each["reason"] for each in node["rejections"] if each["kind"] == _KIND), None)
    return NodeAnswer(node["id"], "acknowledged") if refusal is None else NodeAnswer(node["id"], "refused", refusal)


def _ask(admin: str) -> Document:
    try:
        return get_json(admin, "/status")
    except UnreachableError as error:
        raise LabError(f"the clock is moved, but the control plane does not say who follows: {error}") from error
