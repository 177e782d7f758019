"""What a viewer and an operator can see of a lab, for the tables of this package: only what programs say on their ports, nothing of how they are run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import dns.edns
import dns.message
import dns.query
import dns.rdatatype

from lab.clients.http_client import Reply, UnreachableError, ask, get_json, split_address
from lab.clients.management_api import (
    USE_ORIGIN_CACHE_CONTROL_HEADERS_QUERY_STRINGS,
    Distribution,
    ManagementApi,
    OriginAddress,
    SiteConfig,
)
from lab.cluster.interface import Cluster
from lab.cluster.status import LabStatus
from lab.faults.parameters import Value

REGION, FAR_REGION = "us-east-1", "eu-central-1"
EDGE, OTHER_EDGE = "edge-iad89-p1-1", "edge-iad89-p1-2"
REGIONAL, ROUTER, ORIGIN, CONTROL_PLANE = "regional-us-east-1-1", "dns-1", "origin-1", "control-plane"
FAR_ORIGIN = "origin-2"
TOPOLOGY = """\
lease_seconds: 2
regions: [{name: us-east-1, airport: IAD}, {name: eu-central-1, airport: FRA}]
pops: [{name: IAD89-P1, region: us-east-1, edges: 2, cache_mib: 1, disk_mib: 64}]
regional_caches: [{region: us-east-1, disk_mib: 8}]
routers: [{region: us-east-1}]
origins: [{name: origin-1, region: us-east-1}, {name: origin-2, region: eu-central-1}]
populations: [{region: us-east-1, client_subnet: 10.1.0.0/16, users: 2}]
"""
"""What the tables need; its name, its ports and its range are its runner's. Both tiers have a disk, and there is another region to be cut off from."""

_VIEWER_SECONDS = 5.0

Check = Callable[[], bool]
"""Asked again and again until it is so, or until the deadline."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """How one fault is told from none. `is_seen` has to come true while it is in force, `is_healed` after it, and before it."""

    is_seen: Check
    is_healed: Check


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, where it is injected, and what to watch; `watch` is called while the lab is well."""

    target: str
    watch: Callable[["Scene"], Symptom]
    parameters: Mapping[str, Value] = field(default_factory=dict)
    is_for_containers_only: bool = False
    needs_disk_tier: bool = False
    """Where the lab has none, it is refused."""


class Scene:
    """A lab that is up, with a distribution in front of its origin."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._numbers = 0
        here = next(each for each in cluster.facts.populations if each.region == REGION)
        network = ip_network(here.client_subnet)
        self._client_subnet = dns.edns.ECSOption(str(network.network_address), network.prefixlen)
        """Of viewers where the edges are that the tables name."""
        self.api = ManagementApi(cluster.status().api)
        self.distribution = self.new_distribution()
        self.api.wait_deployed(self.distribution.id)
        self.put("begin", "1")  # makes the bucket

    def close(self) -> None:
        self.api.close()

    def new_distribution(
        self, origin_id: str = ORIGIN, policy: str = USE_ORIGIN_CACHE_CONTROL_HEADERS_QUERY_STRINGS
    ) -> Distribution:
        """In front of an origin; returns before it is deployed."""
        origin = OriginAddress(*split_address(self.reached_at(origin_id)))
        return self.api.create_distribution(SiteConfig("faults", origin, policy))

    def new_name(self) -> str:
        """Of something that no test has asked for."""
        self._numbers += 1
        return f"{time.monotonic_ns()}-{self._numbers}"

    # Nodes

    def address(self, node_id: str) -> str:
        """For viewers, or of the origin's content."""
        return self.cluster.addresses(node_id).http

    def reached_at(self, node_id: str) -> str:
        """Where the others of the lab find it."""
        return next(node for node in self.cluster.nodes() if node.id == node_id).reached_at

    def admin(self, node_id: str) -> str:
        return self.cluster.addresses(node_id).admin

    def status(self, node_id: str) -> dict[str, Any]:
        """What a node says of itself."""
        return get_json(self.admin(node_id), "/status")

    def state(self, node_id: str) -> str:
        found = self.cluster.status().find(node_id)
        return "unknown" if found is None else found.state

    def metric(self, node_id: str, sample: str) -> float:
        """0 when it is not there."""
        lines = ask(self.admin(node_id), "/metrics").body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), 0.0)

    def times(self, node_id: str, kind: str) -> int:
        """How often a fault that is in force there has done something."""
        listed = get_json(self.admin(node_id), "/faults")["faults"]
        return next((int(each["times"]) for each in listed if each["kind"] == kind), 0)

    # Viewers

    def get(
        self,
        node_id: str,
        path: str,
        timeout_seconds: float = _VIEWER_SECONDS,
        *,
        headers: Sequence[tuple[str, str]] = (),
        host: str = "",
    ) -> Reply:
        """One request of a viewer; `host` is that of another distribution. UnreachableError."""
        fields = [("host", host or self.distribution.domain_name), *headers]
        return ask(self.address(node_id), path, headers=fields, timeout_seconds=timeout_seconds)

    def text(self, node_id: str, name: str) -> str:
        """An object of the bucket as a viewer gets it; empty when there is no answer of 200."""
        try:
            reply = self.get(node_id, f"/bucket/faults/{name}")
        except UnreachableError:
            return ""
        return reply.body.decode() if reply.status == 200 else ""

    def resolve(self, timeout_seconds: float = 2.0, name: str = "") -> dns.message.Message:
        """Where the router sends a viewer of the distribution, or of another one. dns.exception.Timeout."""
        name = name or self.distribution.domain_name
        query = dns.message.make_query(name, dns.rdatatype.A, use_edns=0, options=[self._client_subnet])
        host, port = split_address(self.cluster.addresses(ROUTER).dns)
        return dns.query.udp(query, host, port=port, timeout=timeout_seconds)

    def resolved(self) -> set[str]:
        """The addresses in such an answer; none where there is none."""
        return {record.address for records in self.resolve().answer for record in records}

    # Who changes something

    def put(self, name: str, text: str, cache_control: str = "max-age=3600") -> None:
        """A new version of an object at the origin."""
        headers = [("cache-control", cache_control)]
        path, body = f"/bucket/faults/{name}", text.encode()
        reply = ask(self.address(ORIGIN), path, method="PUT", headers=headers, body=body)
        assert reply.status == 200, reply

    def invalidate(self, name: str) -> str:
        """The id of the invalidation."""
        return self.api.invalidate(self.distribution.id, [f"/bucket/faults/{name}"])

    def receipt(self, invalidation_id: str) -> dict[str, Any]:
        return get_json(self.admin(CONTROL_PLANE), f"/receipts/{invalidation_id}")

    def is_completed(self, invalidation_id: str) -> bool:
        return bool(self.receipt(invalidation_id)["status"] == "Completed")

    def part(self, invalidation_id: str, node_id: str) -> str:
        """What a receipt says of a node: acknowledged, pending, left_out."""
        lines = self.receipt(invalidation_id)["nodes"]
        return next((str(line["state"]) for line in lines if line["id"] == node_id), "absent")

    def control_status(self) -> dict[str, Any]:
        return get_json(self.admin(CONTROL_PLANE), "/status")

    def is_whole(self) -> bool:
        """Every node holds its lease."""
        status: LabStatus = self.cluster.status()
        return status.is_whole
