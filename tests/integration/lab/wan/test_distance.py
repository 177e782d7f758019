"""A whole lab with distance between its places: who reaches whom by which way, how long that takes, and who is seen to ask.

The oracle of ways is the kernel's own table of connections: every connection between two programs of the lab has the relays at one end.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import product
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import pytest

from lab.clients.http_client import get_json, site_host, split_address
from lab.cluster.processes import ProcessCluster
from lab.cluster.status import RunningNode
from lab.experiments.demo_site import Demo, make_demo
from lab.topology.layout import Layout
from lab.topology.reader import parse_topology
from tests.integration.lab_harness import SLOT_OF_A_MODULE, ports

ROUND_TRIP_SECONDS = 0.12
"""Between the regions."""
LATE_SECONDS = 0.25
"""How late a busy machine may be; nothing is ever early by more than a timer's step."""
EARLY_SECONDS = 0.002
DEADLINE_SECONDS = 20.0

TOPOLOGY = f"""\
name: two-regions
{ports(SLOT_OF_A_MODULE)}\
lease_seconds: 3
regions:
  - {{name: us-east-1, airport: IAD}}
  - {{name: eu-central-1, airport: FRA}}
pops:
  - {{name: IAD89-P1, region: us-east-1}}
  - {{name: FRA56-P1, region: eu-central-1}}
regional_caches: [{{region: us-east-1}}]
routers: [{{region: us-east-1}}]
origins: [{{name: origin-1, region: us-east-1}}]
populations:
  - {{region: us-east-1, client_subnet: 10.1.0.0/16, users: 1}}
  - {{region: eu-central-1, client_subnet: 10.2.0.0/16, users: 1}}
links: [{{between: [us-east-1, eu-central-1], round_trip_ms: {1000 * ROUND_TRIP_SECONDS:g}}}]
"""


@dataclass(frozen=True)
class Lab:
    """It is up, with its demo site."""

    cluster: ProcessCluster
    layout: Layout
    demo: Demo

    def node(self, node_id: str) -> RunningNode:
        return next(node for node in self.cluster.nodes() if node.id == node_id)

    @property
    def host(self) -> str:
        return site_host(self.demo.distribution.domain_name, self.cluster.facts.viewer_port)

    def viewer(self, population: int) -> str:
        return self.layout.range.viewers(population).replace(".0/24", ".7")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    topology, state_dir = parse_topology(TOPOLOGY, "lab.yaml"), tmp_path_factory.mktemp("lab") / "state"
    with ProcessCluster.up(topology, state_dir) as cluster:
        yield Lab(cluster, Layout(topology, state_dir), make_demo(cluster))


def get(address: str, host: str, path: str, source: str) -> tuple[float, bytes]:
    """How long it takes from the connect to the first byte, and everything that came."""
    began = time.monotonic()
    with socket.create_connection(split_address(address), 10, (source, 0)) as viewer:
        viewer.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = viewer.recv(1)
        took = time.monotonic() - began
        while piece := viewer.recv(65_536):
            received += piece
    return took, received


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_hit_far_away_takes_two_round_trips(lab: Lab) -> None:
    """One for the handshake, one for the answer; a viewer's last mile is 2 ms each way."""
    edge = lab.node("edge-iad89-p1-1").reached_at
    get(edge, lab.host, "/images/1.svg", lab.viewer(1))
    near, answer = get(edge, lab.host, "/images/1.svg", lab.viewer(1))
    assert answer.startswith(b"HTTP/1.1 200 ") and b"X-Cache: Hit" in answer
    assert 2 * 0.0045 - EARLY_SECONDS < near < 2 * 0.0045 + LATE_SECONDS
    expected = 2 * (ROUND_TRIP_SECONDS + 0.004)
    far, answer = get(edge, lab.host, "/images/1.svg", lab.viewer(2))
    assert b"X-Cache: Hit" in answer
    assert expected - EARLY_SECONDS < far < expected + LATE_SECONDS


def test_a_miss_crosses_the_links_between_tiers(lab: Lab) -> None:
    """The edge of Frankfurt asks the regional cache in Virginia: at least once there and back, beyond what its viewer takes."""
    edge = lab.node("edge-fra56-p1-1").reached_at
    miss, answer = get(edge, lab.host, "/images/2.svg", lab.viewer(2))
    assert answer.startswith(b"HTTP/1.1 200 ") and b"X-Cache: Miss" in answer
    assert miss > ROUND_TRIP_SECONDS + 2 * 0.0045 - EARLY_SECONDS
    hit, answer = get(edge, lab.host, "/images/2.svg", lab.viewer(2))
    assert b"X-Cache: Hit" in answer and hit < miss


def test_an_edge_sees_the_viewer_and_not_the_relay(lab: Lab) -> None:
    edge, viewer = lab.node("edge-iad89-p1-1"), lab.viewer(2)
    get(edge.reached_at, lab.host, "/images/3.svg", viewer)
    log = lab.layout.node_dir(edge.id) / "access.log"
    wait_until(lambda: any("/images/3.svg" in line for line in log.read_text().splitlines()))
    line = next(line for line in log.read_text().splitlines() if "/images/3.svg" in line)
    assert viewer in line.split("\t")


def test_an_answer_of_dns_takes_a_round_trip_and_names_the_nearest_edge_where_its_relay_is(lab: Lab) -> None:
    """A query says where it comes from by its address, also without a client subnet."""
    router = split_address(lab.node("dns-1").reached_at)
    query = dns.message.make_query(lab.demo.distribution.domain_name, "A")
    for population, edge, expected in (
        (1, "edge-iad89-p1-1", 0.0045),
        (2, "edge-fra56-p1-1", ROUND_TRIP_SECONDS + 0.004),
    ):
        began = time.monotonic()
        answer = dns.query.udp(query, router[0], 10, router[1], lab.viewer(population))
        took = time.monotonic() - began
        assert expected - EARLY_SECONDS < took < expected + LATE_SECONDS
        addresses = [record.address for rrset in answer.answer for record in rrset]
        assert addresses[0] == split_address(lab.node(edge).reached_at)[0]
    assert dns.query.tcp(query, router[0], 10, router[1], lab.viewer(1)).answer


def test_whoever_is_at_no_place_gets_nothing(lab: Lab) -> None:
    stranger = lab.layout.range.host(254, 1)
    for node in lab.layout.programs():
        assert is_reset(node.advertised.content, stranger), node.id


def is_reset(address: str, source: str) -> bool:
    """Whether nothing but a reset comes of a request from there."""
    try:  # a reset may come before the connect has returned
        with socket.create_connection(split_address(address), 5, (source, 0)) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            client.recv(1)
    except ConnectionError:  # the second write to a connection that was reset is a broken pipe
        return True
    return False


def test_from_every_place_every_program_is_reached_over_its_link(lab: Lab) -> None:
    """All pairs of a place and a program: none is nearer than the link between them."""
    sources = {
        "us-east-1": lab.layout.range.measuring(1),
        "eu-central-1": lab.layout.range.measuring(2),
        "viewers-us-east-1": lab.viewer(1),
        "viewers-eu-central-1": lab.viewer(2),
    }
    answering = [node for node in lab.layout.programs() if node.http]
    for (place, source), node in product(sources.items(), answering):
        took, answer = get(node.advertised.http, lab.host, "/index.html", source)
        assert answer.startswith(b"HTTP/1.1 "), (place, node.id)
        is_far = not place.endswith(node.region)
        least = 2 * ROUND_TRIP_SECONDS if is_far else 2 * 0.0005
        assert took > least - EARLY_SECONDS, (place, node.id)


def test_no_program_of_the_lab_has_a_direct_connection_to_another_one(lab: Lab) -> None:
    """While viewers come from everywhere: in the kernel's table each connection between two programs has the relays at one end."""
    for number, (edge, population) in enumerate(product(("edge-iad89-p1-1", "edge-fra56-p1-1"), (1, 2))):
        get(lab.node(edge).reached_at, lab.host, f"/images/{20 + number}.svg", lab.viewer(population))
    found = set()
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        found |= connections_between({node.pid: node.id for node in lab.cluster.nodes() if node.pid})
    direct = {pair for pair in found if "wan" not in pair}
    assert not direct
    reached = {name for pair in found for name in pair}
    assert reached >= {node.id for node in lab.cluster.nodes()}, "all speak"


def test_nobody_was_told_of_another_way(lab: Lab) -> None:
    """Neither the control plane nor the router knows where a node really listens."""
    binds = {address for node in lab.layout.programs() for address in (node.http, node.admin) if address}
    known = json.dumps(get_json(lab.node("control-plane").admin, "/status"))
    assert not [address for address in binds if address in known]


def test_the_self_test_finds_every_link_as_it_was_asked_for(lab: Lab) -> None:
    document = json.loads(_post(lab.node("wan").admin, "/check"))
    assert {each["link"] for each in document["measurements"]} == {
        *("us-east-1--us-east-1", "us-east-1--eu-central-1", "eu-central-1--eu-central-1"),
        *(
            f"{who}--{region}"
            for who in ("viewers-us-east-1", "viewers-eu-central-1", "operator")
            for region in ("us-east-1", "eu-central-1")
        ),
    }
    asked = {
        each["asked"]
        for each in document["measurements"]
        if each["link"] == "us-east-1--eu-central-1" and each["what"] == "delay"
    }
    assert asked == {1000 * ROUND_TRIP_SECONDS / 2}
    measured = [each["measured"] for each in document["measurements"] if each["link"] == "us-east-1--eu-central-1"]
    assert all(each >= 1000 * (ROUND_TRIP_SECONDS / 2 - EARLY_SECONDS) for each in measured)


def _post(address: str, path: str) -> bytes:
    with socket.create_connection(split_address(address), 60) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        received = b""
        while piece := client.recv(65_536):
            received += piece
    return received.partition(b"\r\n\r\n")[2]


def connections_between(names: dict[int, str]) -> set[frozenset[str]]:
    """Established connections with a program of the lab at both ends, by the kernel's table and the descriptors of its processes."""
    holder: dict[str, str] = {}
    for pid, name in names.items():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(descriptor)
            except OSError:
                continue
            if target.startswith("socket:["):
                holder[target[8:-1]] = name
    ends: dict[tuple[str, str], str] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, remote, state, inode = (line.split()[index] for index in (1, 2, 3, 9))
            if state == "01" and inode in holder:
                ends[_address(local), _address(remote)] = holder[inode]
    return {frozenset((name, ends[remote, local])) for (local, remote), name in ends.items() if (remote, local) in ends}


def _address(text: str) -> str:
    """As the kernel writes it: the last four bytes, in the order of this machine; an IPv4 address in IPv6 ends with it."""
    host, _, port = text.partition(":")
    return f"{IPv4Address(int.from_bytes(bytes.fromhex(host[-8:]), 'little'))}:{int(port, 16)}"
