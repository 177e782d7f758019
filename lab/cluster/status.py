"""What `cdnlab status` says of a lab, whichever way it runs. `to_json` is a stable interface: docs/cli.md lists its keys."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.clients.http_client import UnreachableError, get_json, is_healthy
from lab.errors import LabError, UsageError
from lab.topology.layout import ACCESS_KEY_ID, API_REGION, SECRET_ACCESS_KEY, Role

# A node that works answers within milliseconds; one that is stopped (SIGSTOP) must not hold up the others for long.
PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node as its runner knows it. `handle` is a pid or the id of a container; empty addresses: it has none."""

    id: str
    role: Role
    region: str
    pop: str
    http: str
    admin: str
    dns: str
    is_running: bool
    pid: int | None = None
    container: str | None = None
    advertised: str = ""
    """Where viewers, tiers or resolvers find it, if that is somewhere else: at a relay."""

    @property
    def reached_at(self) -> str:
        """Where others of the lab reach what it is there for, host:port."""
        return self.advertised or self.http or self.dns


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node and how it is.

    `state` is `live`; `expired` or `left` (no lease: not in DNS answers); `starting` (not heard of yet); `silent` (runs, does
    not answer); `down` (no such process).
    """

    node: RunningNode
    state: str
    applied_index: int | None

    def to_json(self) -> dict[str, Any]:
        node = self.node
        handle = {"container": node.container} if node.container is not None else {"pid": node.pid}
        return {
            "id": node.id,
            "role": node.role.value,
            "region": node.region,
            "pop": node.pop or None,
            "state": self.state,
            "applied_index": self.applied_index,
            **handle,
            "http": node.http or None,
            "admin": node.admin or None,
            "dns": node.dns or None,
            "advertised": node.reached_at or None,
        }


LEASED_ROLES = (Role.EDGE, Role.REGIONAL, Role.DNS_ROUTER)


@dataclass(frozen=True, slots=True)
class DistributionStatus:
    """A distribution as the control plane knows it."""

    id: str
    domain_name: str
    status: str


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A lab at one moment."""

    zone: str
    endpoint: str
    nodes: tuple[NodeStatus, ...]
    distributions: tuple[DistributionStatus, ...]

    @property
    def api(self) -> dict[str, str]:
        """What a client of the management API has to be told."""
        return {
            "endpoint": self.endpoint,
            "region": API_REGION,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "zone": self.zone,
            "api": self.api,
            "nodes": [node.to_json() for node in self.nodes],
            "distributions": [
                {"id": each.id, "domain_name": each.domain_name, "status": each.status} for each in self.distributions
            ],
        }

    def of_role(self, role: Role) -> tuple[NodeStatus, ...]:
        return tuple(status for status in self.nodes if status.node.role is role)

    @property
    def is_silent_about_distributions(self) -> bool:
        """Only a control plane knows of distributions; that it does not answer is not that there are none."""
        return any(status.state != "live" for status in self.of_role(Role.CONTROL_PLANE))

    def find_distribution(self, distribution_id: str) -> DistributionStatus:
        """LabError when nobody can tell, UsageError for an unknown id."""
        if self.is_silent_about_distributions:
            raise LabError(
                "the control plane does not answer, so no distribution is known: see `cdnlab logs control-plane`"
            )
        for each in self.distributions:
            if each.id == distribution_id:
                return each
        known = ", ".join(each.id for each in self.distributions)
        raise UsageError(f"no distribution {distribution_id!r}: there are {known or 'none'}")

    def find(self, node_id: str) -> NodeStatus | None:
        return next((status for status in self.nodes if status.node.id == node_id), None)

    @property
    def is_whole(self) -> bool:
        return all(status.state == "live" for status in self.nodes)


def observe(nodes: Iterable[RunningNode], zone: str, endpoint: str) -> LabStatus:
    """Asks the control plane about its nodes, and whom it does not know directly."""
    listed = tuple(nodes)
    view = _control_plane_view(listed)
    statuses = tuple(_node_status(node, view) for node in listed)
    documents = view.get("distributions", [])
    distributions = tuple(DistributionStatus(each["id"], each["domain_name"], each["status"]) for each in documents)
    return LabStatus(str(view.get("zone", zone)), endpoint, statuses, distributions)


def _control_plane_view(nodes: Iterable[RunningNode]) -> Mapping[str, Any]:
    for node in nodes:
        if node.role is Role.CONTROL_PLANE and node.is_running and node.admin:
            try:
                return get_json(node.admin, "/status", PROBE_SECONDS)
            except UnreachableError:
                return {}
    return {}


def _node_status(node: RunningNode, view: Mapping[str, Any]) -> NodeStatus:
    if not node.is_running:
        return NodeStatus(node, "down", None)
    match node.role:
        case Role.CONTROL_PLANE:
            return NodeStatus(node, "live" if view else "silent", view.get("head_index"))
        case Role.ORIGIN | Role.WAN:
            return NodeStatus(node, "live" if is_healthy(node.admin, PROBE_SECONDS) else "silent", None)
        case Role.EDGE | Role.REGIONAL | Role.DNS_ROUTER:
            return _by_control_plane(node, view) if view else observe_itself(node)


def _by_control_plane(node: RunningNode, view: Mapping[str, Any]) -> NodeStatus:
    for record in view.get("nodes", []):
        if record["id"] == node.id:
            # A lease outlives a stream: a node that is not connected is not known to work.
            state = "silent" if record["state"] == "live" and not record["connected"] else record["state"]
            return NodeStatus(node, state, record["acknowledged_index"])
    return NodeStatus(node, "starting", None)


def observe_itself(node: RunningNode) -> NodeStatus:
    """Without a control plane a node still knows what it serves, and that its lease has run out."""
    try:
        own = get_json(node.admin, "/status", PROBE_SECONDS)
    except UnreachableError:
        return NodeStatus(node, "silent", None)
    return NodeStatus(node, "live" if own.get("lease") == "held" else "expired", own.get("applied_index"))
