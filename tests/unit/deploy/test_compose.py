"""deploy/compose.yaml is made from the default topology, and says the same thing in several places (addresses, labels, flags, the routing table): they agree.

What the engine makes of it is shown in tests/docker. Here the file is read as text, with no Docker.
"""

import ipaddress
import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from deploy.compose_files import stale_files
from lab.topology.layout import Layout
from lab.topology.layout import routing_table as routing_table_of
from lab.topology.reader import read_topology, shipped_topology
from proto.cdn.v1 import configuration_pb2
from proto.mutual_tls import CONTROL_PLANE_NAME, node_uri

DEPLOY = Path(__file__).parents[3] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = {name: service for name, service in SERVICES.items() if "cdnlab.node" in service["labels"]}
CACHES = [name for name, service in NODES.items() if service["labels"]["cdnlab.role"] in ("edge", "regional")]
EDGES = [name for name in CACHES if NODES[name]["labels"]["cdnlab.role"] == "edge"]
ORIGINS = [name for name, service in NODES.items() if service["labels"]["cdnlab.role"] == "origin"]
VIEWERS = [name for name, service in SERVICES.items() if "--worker" in str(service.get("command"))]
REPLICAS = ("control-plane-2", "control-plane-3")
"""Under a profile of their own; they are no places of the lab."""
PLACES = ("us-east-1", "eu-central-1", "ap-northeast-1")


def flags(service: dict[str, Any]) -> dict[str, str]:
    """`--name value` pairs of the command line."""
    return dict(re.findall(r"--([a-z-]+) (\S+)", service["command"]))


def subnet(network: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(COMPOSE["networks"][network]["ipam"]["config"][0]["subnet"])


def address(service: str, network: str) -> str:
    return str(NODES[service]["networks"][network]["ipv4_address"])


def routing_table() -> configuration_pb2.RoutingTable:
    """As the control plane reads it: an unknown field is an error."""
    text = (DEPLOY / "routing-table.json").read_text()
    return json_format.Parse(text, configuration_pb2.RoutingTable())


def test_it_is_what_the_default_topology_makes() -> None:
    assert stale_files() == [], "run `make compose`"


def test_it_is_the_lab_that_cdnlab_up_starts() -> None:
    """The same nodes in the same places, under the same names, as the default topology has as processes."""
    topology = read_topology(shipped_topology("default"))
    expected = {
        node.id: (node.role, node.region, node.pop, dict(pairwise(node.flags)).get("--cache-bytes"))
        for node in Layout(topology, Path()).nodes()
    }
    labels = {name: service["labels"] for name, service in NODES.items()}
    assert {
        name: (
            each["cdnlab.role"],
            each["cdnlab.region"],
            each["cdnlab.pop"],
            flags(SERVICES[name]).get("cache-bytes"),
        )
        for name, each in labels.items()
    } == expected
    written = json.loads((DEPLOY / "routing-table.json").read_text())
    derived = routing_table_of(topology)
    assert {**written, "clientSubnets": None, "latencies": None} == {
        **derived,
        "clientSubnets": None,
        "latencies": None,
    }
    assert latencies(written) == latencies(derived)


def latencies(document: dict[str, Any]) -> dict[frozenset[str], float]:
    return {frozenset((each["fromRegion"], each["toRegion"])): each["milliseconds"] for each in document["latencies"]}


@pytest.mark.parametrize("name", CACHES)
def test_flags_of_a_cache_agree_with_its_labels_and_addresses(name: str) -> None:
    labels, given = NODES[name]["labels"], flags(NODES[name])
    assert labels["cdnlab.node"] == given["node-id"] == name
    assert (given["role"], given["region"], given["pop"]) == (
        labels["cdnlab.role"],
        labels["cdnlab.region"],
        labels["cdnlab.pop"],
    )
    # Viewers reach an edge in its place, edges reach a regional cache over the backbone.
    reached_in = labels["cdnlab.region"] if labels["cdnlab.role"] == "edge" else "backbone"
    assert given["advertise"] == f"{address(name, reached_in)}:8080"
    assert given["advertise-admin"] == f"{address(name, 'backbone')}:9100"
    assert given["state-dir"].endswith(f"/{name}")


def test_every_program_that_speaks_grpc_finds_its_own_certificate(tmp_path: Path) -> None:
    """The service `certificates` is run as it stands; OpenSSL reads what each of the others is pointed to."""
    made = SERVICES["certificates"]["command"].replace("/etc/cdnlab/tls", str(tmp_path))
    subprocess.run([sys.executable, *shlex.split(made)[1:]], cwd=DEPLOY.parent, check=True)
    zone = flags(SERVICES["control-plane"])["zone"]
    replicas = {name: service for name, service in SERVICES.items() if name in REPLICAS}
    programs = {name: service for name, service in NODES.items() if name not in ORIGINS} | replicas
    for name, service in programs.items():
        folder = tmp_path / flags(service)["tls-dir"].removeprefix("/etc/cdnlab/tls/")
        role = "control_plane" if name in REPLICAS else service["labels"]["cdnlab.role"]
        command = ("openssl", "x509", "-in", "certificate.pem", "-noout", "-ext", "subjectAltName")
        names = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split("\n")[1]
        server = [f"DNS:{CONTROL_PLANE_NAME}"] if role == "control_plane" else []
        assert [each.strip() for each in names.split(",")] == [f"URI:{node_uri(zone, role, name)}", *server]
    assert {path.name for path in tmp_path.iterdir()} == set(programs)


def test_three_control_planes_share_a_database_where_the_variables_of_the_profile_are_given() -> None:
    lines = (DEPLOY / "replicas.env").read_text(encoding="utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert variables["COMPOSE_PROFILES"] == "replicas"
    planes = ("control-plane", *REPLICAS)
    assert variables["CDNLAB_CONTROL_PLANES"] == ",".join(f"{name}:4567" for name in planes)
    first = dict(re.findall(r"--([a-z-]+) (\S+)", variables["CDNLAB_CONTROL_PLANE_FLAGS"]))
    of_each = [first, *(flags(SERVICES[name]) for name in REPLICAS)]
    assert {each["database"] for each in of_each} == {"postgresql://cdnlab@postgres:5432/cdnlab"}
    for name, each in zip(planes, of_each, strict=True):
        assert each["advertise"] == f"{SERVICES[name]['networks']['backbone']['ipv4_address']}:4567"
        assert "database" in SERVICES[name]["networks"]
    for name in (*CACHES, "dns-1"):
        assert "--control-plane ${CDNLAB_CONTROL_PLANES:-control-plane:4567} " in SERVICES[name]["command"]


def test_certificates_are_there_before_anybody_needs_one_and_only_their_maker_writes_them() -> None:
    done = {"certificates": {"condition": "service_completed_successfully"}}
    database = {"postgres": {"condition": "service_healthy", "required": False}}
    assert SERVICES["control-plane"]["depends_on"] == done | database
    for name, service in SERVICES.items():
        mounts = [volume for volume in service.get("volumes", ()) if volume.startswith("tls:")]
        if name == "certificates":
            assert mounts == ["tls:/etc/cdnlab/tls"]
        elif "tls-dir" in flags({"command": "", **service}):
            assert mounts == ["tls:/etc/cdnlab/tls:ro"]
            assert name == "control-plane" or "control-plane" in service["depends_on"]
        else:
            assert mounts == []


def test_an_edge_belongs_to_one_place_only() -> None:
    for name in EDGES:
        assert set(NODES[name]["networks"]) == {NODES[name]["labels"]["cdnlab.region"], "backbone", "origins"}


def test_every_fixed_address_is_in_its_subnet_outside_the_dynamic_range_and_used_once() -> None:
    used: list[str] = []
    for service in SERVICES.values():
        networks = service["networks"]
        for network, options in networks.items() if isinstance(networks, dict) else ():
            if fixed := (options or {}).get("ipv4_address"):
                used.append(fixed)
                dynamic = ipaddress.IPv4Network(COMPOSE["networks"][network]["ipam"]["config"][0]["ip_range"])
                assert ipaddress.IPv4Address(fixed) in subnet(network)
                assert ipaddress.IPv4Address(fixed) not in dynamic
    assert len(used) == len(set(used)) > 0


def test_client_subnets_are_the_places() -> None:
    table = routing_table()
    assert list(table.regions) == list(PLACES)
    assert table.default_region in PLACES
    places = {str(subnet(place)): place for place in PLACES}
    # Who asks through a published port comes from a gateway; which network's, the engine decides.
    gateways = {f"{next(subnet(place).hosts())}/32": table.default_region for place in PLACES}
    # And a client that says where it is does so as with processes.
    said = {each.client_subnet: each.region for each in read_topology(shipped_topology("default")).populations}
    assert {each.cidr: each.region for each in table.client_subnets} == places | gateways | said
    assert table.zone == flags(SERVICES["control-plane"])["zone"]


def test_only_caches_share_a_network_with_origins() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
    for name in ORIGINS:
        assert set(NODES[name]["networks"]) <= internal
        # Content is served on the origins' network only, although the container is in another one as well.
        assert flags(NODES[name])["listen"] == f"{address(name, 'origins')}:8080"
    joined = {name for name, service in SERVICES.items() if "origins" in service["networks"]}
    assert joined == {*CACHES, *ORIGINS}


def test_viewers_meet_edges_and_routers_only() -> None:
    assert len(VIEWERS) == 3
    for name in VIEWERS:
        assert set(SERVICES[name]["networks"]) == {*PLACES, "load"}
        # The router is asked in the viewer's own place, so that it sees the viewer's address there.
        home = name.removeprefix("load-")
        assert SERVICES[name]["dns"] == [address("dns-1", home)]
        assert SERVICES[name]["environment"]["CDNLAB_DNS"] == f"{address('dns-1', home)}:53"
        assert f'"client_subnet": "{subnet(home)}"' in SERVICES[name]["environment"]["CDNLAB_POPULATIONS"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_only_the_rights_that_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert not {"privileged", "cap_add", "user", "network_mode", "pid"} & set(service)


@pytest.mark.parametrize("name", NODES)
def test_a_node_says_when_it_is_ready(name: str) -> None:
    port = flags(NODES[name])["admin"].rpartition(":")[2]
    assert NODES[name]["healthcheck"]["test"][-2:] == ["/opt/cdnlab/deploy/healthcheck.py", port]


def test_ports_are_published_on_loopback_and_can_be_moved() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    pattern = r"127\.0\.0\.1:\$\{(CDNLAB_[A-Z0-9_]+_PORT):-(\d+)\}:\d+(?:/(udp|tcp))?"
    matches = [re.fullmatch(pattern, port) for port in published]
    assert all(matches), published
    defaults = [(match[2], match[3] or "tcp") for match in matches if match]
    assert len(defaults) == len(set(defaults))
    assert {"4566", "4568", "8053", "8080", "9090", "8089"} <= {port for port, _ in defaults}


def test_the_root_file_only_includes_it() -> None:
    root = yaml.safe_load((DEPLOY.parent / "compose.yaml").read_text())
    assert root == {"name": COMPOSE["name"], "include": ["deploy/compose.yaml"]}


@pytest.mark.parametrize("path", ["Dockerfile", "prometheus/Dockerfile"])
def test_images_are_built_from_the_one_base_without_a_frontend(path: str) -> None:
    text = (DEPLOY / path).read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert set(bases) == {"python:3.13-slim"}
    assert not text.startswith("# syntax")
    assert re.search(r"^USER (?!root|0)", text, re.MULTILINE)
