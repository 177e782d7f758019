"""The whole system as a lab of real processes, for the tests in test_system_*.py: every program, two regions, three POPs, two tiers.

The lab is shared by the tests of several modules (system/conftest.py), each with distributions and paths of its own; what a test has killed or stopped is brought
back after it.
Each lab claims a slot, which is a loopback range and a set of ports, so that several test processes can run labs at once. Blocking helpers are plain functions;
tests that have viewers on the event loop call them through `asyncio.to_thread`.
"""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
from botocore.config import Config

from lab.clients.http_client import Reply, UnreachableError, ask, get_json, split_address
from lab.cluster.processes import ProcessCluster
from lab.topology.layout import ACCESS_KEY_ID, API_REGION, CONTROL_PLANE_ID, SECRET_ACCESS_KEY, Role
from lab.topology.reader import parse_topology
from tests import warm_start
from tests.integration.system_relay import Relay
from tests.integration.system_topology import TOPOLOGY, claimed_slot

CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
DEADLINE_SECONDS = 15.0
LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.005, 0.05
"""Between two looks at what a test waits for."""
LEASE_SECONDS = 5.0
HEARTBEAT_SECONDS = 0.5
SUBNETS = {"us-east-1": "10.1.7.0", "eu-central-1": "10.2.7.0"}
ORIGIN = "origin-1"
ROUTER = "dns-1"


def counted_lease_seconds(lease_seconds: float) -> float:
    """How long the control plane counts a lease: a tenth and a quarter of a second more than the node (docs/invalidation.md, rule 5)."""
    return lease_seconds * 1.1 + 0.25


@dataclass(frozen=True)
class Site:
    """A distribution in front of the lab's origin."""

    id: str
    host: str


class SystemLab:
    """A running lab and everything that a test asks of it. All calls block, each with a bound."""

    def __init__(self, processes: ProcessCluster, lease_seconds: float) -> None:
        self.processes = processes
        self.lease_seconds = lease_seconds
        self._nodes = {node.id: node for node in processes.record.nodes}
        self.cloudfront = boto3.client(
            "cloudfront",
            endpoint_url=processes.facts.endpoint,
            region_name=API_REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(
                connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}, max_pool_connections=20
            ),
        )

    # -- nodes

    def edges(self, region: str | None = None) -> list[str]:
        """Ids of all edges, or of those of a region."""
        return [node.id for node in self._nodes.values() if node.role is Role.EDGE and region in (None, node.region)]

    def regionals(self, region: str | None = None) -> list[str]:
        return [
            node.id for node in self._nodes.values() if node.role is Role.REGIONAL and region in (None, node.region)
        ]

    def synchronized(self) -> list[str]:
        """Ids of all nodes that follow the control plane."""
        return [*self.edges(), *self.regionals(), ROUTER]

    def http(self, node_id: str) -> str:
        """host:port for viewers (or of the origin's content)."""
        return self._nodes[node_id].http

    def status(self, node_id: str) -> dict[str, Any]:
        """What a node says of itself."""
        return get_json(self._nodes[node_id].admin, "/status")

    def is_ready(self, node_id: str) -> bool:
        """GET /readyz."""
        try:
            return ask(self._nodes[node_id].admin, "/readyz").status == 200
        except UnreachableError:
            return False

    def metric(self, node_id: str, sample: str) -> float:
        """One sample of a node's metrics; 0 when it is not there yet."""
        lines = ask(self._nodes[node_id].admin, "/metrics").body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample + " ")), 0.0)

    def access_log(self, node_id: str) -> list[str]:
        path = self.processes.state.path / "nodes" / node_id / "access.log"
        return [line for line in path.read_text().splitlines() if not line.startswith("#")]

    def kill(self, node_id: str, number: signal.Signals = signal.SIGKILL) -> None:
        self.processes.signal(node_id, number)

    def start(self, node_id: str) -> None:
        wait_until(lambda: self.is_gone(node_id), f"{node_id} has ended with all of its threads")
        self.processes.start(node_id)

    def is_gone(self, node_id: str) -> bool:
        """After SIGKILL a process looks like a zombie from when its first thread has ended; its sockets are closed when the last one has."""
        self.processes.status()  # collects the exit status of children
        process = self.processes.node(node_id).process
        return process is None or not Path(f"/proc/{process.pid}").exists()

    @contextmanager
    def stopped(self, node_id: str) -> Iterator[None]:
        """A node that stands still (SIGSTOP) and keeps its sockets and its lease."""
        self.kill(node_id, signal.SIGSTOP)
        try:
            yield
        finally:
            self.kill(node_id, signal.SIGCONT)

    def restart_through(self, node_id: str, control_plane: str) -> None:
        """Starts a node again with another address of the control plane, empty for the usual one; live when it returns."""
        command = self.command(node_id)
        if control_plane:
            command[command.index("--control-plane") + 1] = control_plane
        self.restart_as(node_id, command)

    def command(self, node_id: str) -> list[str]:
        """How it is started when no test has changed that."""
        return list(self._nodes[node_id].command)

    def restart_as(self, node_id: str, command: Iterable[str]) -> None:
        """Starts a node again by another command; live when it returns."""
        state, record = self.processes.state, self.processes.record
        self.kill(node_id, signal.SIGTERM)
        wait_until(lambda: not self.processes.node(node_id).is_running, f"{node_id} has ended")
        nodes = (replace(node, command=tuple(command)) if node.id == node_id else node for node in record.nodes)
        state.write(replace(record, nodes=tuple(nodes)))
        self.start(node_id)
        self.wait_serving(node_id)

    def heal(self) -> None:
        """Everything runs and holds a lease, however a test has ended."""
        for node_id in self._nodes:
            if self.processes.node(node_id).is_running:
                self.kill(node_id, signal.SIGCONT)
        wait_until(self._is_all_back, "everything to be back")
        self.origin("DELETE", "/behaviors")

    def _is_all_back(self) -> bool:
        for node_id in self._nodes:
            if not self.processes.node(node_id).is_running:
                self.start(node_id)
        return all(self._is_serving(node_id) for node_id in self._nodes)

    def wait_serving(self, *node_ids: str) -> None:
        """Until these nodes, or all, serve and hold a lease by their own account and by the control plane's.

        A node that is back within its old lease is `live` for the control plane before it listens, so both are asked.
        """
        for node_id in node_ids or self._nodes:
            wait_until(partial(self._is_serving, node_id), f"{node_id} serves")

    def _is_serving(self, node_id: str) -> bool:
        role = self._nodes[node_id].role
        try:
            own = self.status(node_id)
            if role in (Role.CONTROL_PLANE, Role.ORIGIN):
                return True
            seen = self.control_record(node_id)
        except UnreachableError:
            return False
        return (own["lease"], seen["connected"], seen["state"]) == ("held", True, "live")

    # -- control plane

    @property
    def grpc(self) -> str:
        """Where nodes find the control plane."""
        command = self._nodes[CONTROL_PLANE_ID].command
        return command[command.index("--grpc") + 1]

    def relay(self, node_id: str) -> Relay:
        """To the control plane, at the host of a node that is to be started through it."""
        keys = self.processes.state.path / "tls"
        return Relay(split_address(self.http(node_id))[0], self.grpc, keys / CONTROL_PLANE_ID, keys / node_id)

    def control_status(self) -> dict[str, Any]:
        return get_json(self._nodes[CONTROL_PLANE_ID].admin, "/status")

    def control_record(self, node_id: str) -> dict[str, Any]:
        """A node as the control plane sees it."""
        return next(node for node in self.control_status()["nodes"] if node["id"] == node_id)

    def receipt(self, invalidation_id: str) -> dict[str, Any]:
        return get_json(self._nodes[CONTROL_PLANE_ID].admin, f"/receipts/{invalidation_id}")

    def make_site(self, **changes: Any) -> Site:
        """A distribution that is deployed everywhere; `changes` are members of its DistributionConfig."""
        config = distribution_config(f"site-{time.time_ns()}", self.http(ORIGIN)) | changes
        made = self.cloudfront.create_distribution(DistributionConfig=config)["Distribution"]
        self.wait_deployed(made["Id"])
        return Site(made["Id"], made["DomainName"])

    def make_policy(self, name: str, query_strings: str = "all") -> str:
        """The id of a new cache policy that keys on the path and on query strings as asked."""
        config = cache_policy_config(f"{name}-{time.time_ns()}", query_strings)
        return str(self.cloudfront.create_cache_policy(CachePolicyConfig=config)["CachePolicy"]["Id"])

    def update(self, site: Site, **changes: Any) -> None:
        """Replaces members of the configuration; returns at once."""
        answer = self.cloudfront.get_distribution_config(Id=site.id)
        config = answer["DistributionConfig"] | changes
        self.cloudfront.update_distribution(Id=site.id, IfMatch=answer["ETag"], DistributionConfig=config)

    def wait_deployed(self, distribution_id: str) -> None:
        """boto3's own waiter."""
        waiter = self.cloudfront.get_waiter("distribution_deployed")
        waiter.wait(Id=distribution_id, WaiterConfig={"Delay": 0.01, "MaxAttempts": 1000})

    def invalidate(self, site: Site, *paths: str, reference: str | None = None) -> str:
        """The id of the invalidation; returns at once."""
        batch = {"Paths": quantified(*paths), "CallerReference": reference or f"r-{time.time_ns()}"}
        answer = self.cloudfront.create_invalidation(DistributionId=site.id, InvalidationBatch=batch)
        return str(answer["Invalidation"]["Id"])

    def is_completed(self, site: Site, invalidation_id: str) -> bool:
        answer = self.cloudfront.get_invalidation(DistributionId=site.id, Id=invalidation_id)
        return bool(answer["Invalidation"]["Status"] == "Completed")

    def wait_completed(self, site: Site, invalidation_id: str, pause_seconds: float = 0.02) -> None:
        """boto3's own waiter."""
        waiter = self.cloudfront.get_waiter("invalidation_completed")
        attempts = {"Delay": pause_seconds, "MaxAttempts": int(DEADLINE_SECONDS / pause_seconds)}
        waiter.wait(DistributionId=site.id, Id=invalidation_id, WaiterConfig=attempts)

    # -- origin and viewers

    def origin(self, method: str, path: str, document: object = None) -> Any:
        """A call to the origin's admin port."""
        body = None if document is None else json.dumps(document).encode()
        headers = [("content-type", "application/json")]
        reply = ask(self._nodes[ORIGIN].admin, path, method=method, body=body, headers=headers)
        assert reply.status < 300, reply
        return json.loads(reply.body) if reply.body else None

    def origin_count(self, path: str) -> int:
        return int(self.origin("GET", f"/count?path={path}")["count"])

    def put_object(self, key: str, body: bytes) -> int:
        """A new version of an object at the origin; its number."""
        reply = ask(self.http(ORIGIN), f"/bucket/{key}", method="PUT", body=body)
        assert reply.status == 200, reply
        return int(reply.headers["x-amz-version-id"])

    def get(self, node_id: str, host: str, path: str) -> Reply:
        """One request of a viewer to one node."""
        return ask(self.http(node_id), path, headers=[("host", host)], timeout_seconds=DEADLINE_SECONDS)

    def answers(self, name: str, region: str) -> list[str]:
        """Ids of the edges that the router tells a viewer of a region; none for NOERROR without data. LookupError for an error."""
        subnet = dns.edns.ECSOption(SUBNETS[region], 24)
        query = dns.message.make_query(name, dns.rdatatype.A, use_edns=0, options=[subnet])
        host, port = split_address(self._nodes[ROUTER].dns)
        response = dns.query.udp(query, host, port=port, timeout=DEADLINE_SECONDS)
        if response.rcode() != dns.rcode.NOERROR:
            raise LookupError(dns.rcode.to_text(response.rcode()))
        by_host = {split_address(self.http(edge))[0]: edge for edge in self.edges()}
        return [by_host[record.address] for records in response.answer for record in records]

    def close(self) -> None:
        self.cloudfront.close()


def wait_until(
    condition: Callable[[], object],
    what: str,
    timeout_seconds: float = DEADLINE_SECONDS,
    most_pause_seconds: float = MOST_PAUSE_SECONDS,
) -> float:
    """Seconds until it held; fails the test at the deadline. What takes long is asked for more seldom, for each question costs the lab CPU."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < timeout_seconds, f"not within {timeout_seconds:g} s: {what}"
        time.sleep(min(LEAST_PAUSE_SECONDS + waited / 20, most_pause_seconds))
    return time.monotonic() - began


async def until(condition: Callable[[], object], what: str, timeout_seconds: float = DEADLINE_SECONDS) -> float:
    """`wait_until` beside a running event loop."""
    return await asyncio.to_thread(wait_until, condition, what, timeout_seconds)


def quantified(*items: Any) -> dict[str, Any]:
    return {"Quantity": len(items), "Items": list(items)}


def custom_origin(address: str, path: str = "") -> dict[str, Any]:
    host, port = split_address(address)
    custom = {"HTTPPort": port, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"}
    return {"Id": "origin", "DomainName": host, "OriginPath": path, "CustomOriginConfig": custom}


def behavior(policy_id: str = CACHING_OPTIMIZED) -> dict[str, Any]:
    return {"TargetOriginId": "origin", "ViewerProtocolPolicy": "allow-all", "CachePolicyId": policy_id}


def distribution_config(reference: str, origin: str) -> dict[str, Any]:
    """As little as a distribution can say."""
    return {
        "CallerReference": reference,
        "Comment": "system test",
        "Enabled": True,
        "Origins": quantified(custom_origin(origin)),
        "DefaultCacheBehavior": behavior(),
    }


def cache_policy_config(name: str, query_strings: str) -> dict[str, Any]:
    """Keys on the path and on query strings; `query_strings` is a QueryStringBehavior."""
    key = {
        "EnableAcceptEncodingGzip": False,
        "HeadersConfig": {"HeaderBehavior": "none"},
        "CookiesConfig": {"CookieBehavior": "none"},
        "QueryStringsConfig": {"QueryStringBehavior": query_strings},
    }
    return {"Name": name, "MinTTL": 0, "ParametersInCacheKeyAndForwardedToOrigin": key}


@contextmanager
def system_lab(directory: Path, lease_seconds: float = LEASE_SECONDS) -> Iterator[SystemLab]:
    """The lab, every node live; nothing is left of it afterwards."""
    with claimed_slot() as (loopback, ports):
        numbered = {f"port_{number}": port for number, port in enumerate(ports)}
        text = TOPOLOGY.format(
            loopback=loopback, lease_seconds=lease_seconds, heartbeat_seconds=HEARTBEAT_SECONDS, **numbered
        )
        topology = parse_topology(text, "system_lab.py")
        with ProcessCluster.up(topology, directory / "lab", launch=warm_start.launch) as processes:
            lab = SystemLab(processes, lease_seconds)
            try:
                yield lab
            finally:
                lab.close()
                processes.abandon()
                wait_until(
                    lambda: all(lab.is_gone(node.id) for node in processes.record.nodes), "every process is gone"
                )


def all_of(nodes: Iterable[dict[str, Any]], state: str) -> set[str]:
    """Ids of the nodes of a receipt that are in a state."""
    return {node["id"] for node in nodes if node["state"] == state}
