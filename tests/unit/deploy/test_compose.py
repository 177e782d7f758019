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
from lab.cluster.container_facts import read_populations
from lab.topology.internet import links_of
from lab.topology.layout import Layout
from lab.topology.layout import routing_table as routing_table_of
from lab.topology.model import Topology
from lab.topology.reader import read_topology, shipped_topology
from lab.wan.configuration import ClientAddress, Configuration, PlaceFinder
from lab.wan.configuration_file import read_configuration
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
PROGRAMS = [name for name, service in NODES.items() if service["labels"]["cdnlab.role"] not in ("control_plane", "wan")]
PLACES = ("us-east-1", "eu-central-1", "ap-northeast-1")
INSTRUMENTS = {"prometheus"}
"""On the networks of others, to ask them; it forwards nothing."""


def flags(service: dict[str, Any]) -> dict[str, str]:
    """`--name value` pairs of the command line."""
    return dict(re.findall(r"--([a-z-]+) (\S+)", service["command"]))


def default() -> Topology:
    return read_topology(shipped_topology("default"))


def subnet(network: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(COMPOSE["networks"][network]["ipam"]["config"][0]["subnet"])


def address(service: str, network: str = "") -> str:
    """In a network; a program has one of its own."""
    return str(SERVICES[service]["networks"][network or service]["ipv4_address"])


def networks_of(service: str) -> set[str]:
    return set(SERVICES[service]["networks"])


def wan() -> Configuration:
    """As the relays read it."""
    return read_configuration(DEPLOY / "wan.yaml")


def routing_table() -> configuration_pb2.RoutingTable:
    """As the control plane reads it: an unknown field is an error."""
    text = (DEPLOY / "routing-table.json").read_text()
    return json_format.Parse(text, configuration_pb2.RoutingTable())


def test_it_is_what_the_default_topology_makes() -> None:
    assert stale_files() == [], "run `make compose`"


def test_it_is_the_lab_that_cdnlab_up_starts() -> None:
    """The same nodes in the same places, under the same names, as the default topology has as processes."""
    topology = default()
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
    listening = {proxy.upstream: proxy.listen for proxy in wan().proxies}
    assert given["advertise"] == labels["cdnlab.advertised"] == listening[f"{address(name)}:8080"]
    assert given["advertise-admin"] == listening[f"{address(name)}:9100"]
    assert given["state-dir"].endswith(f"/{name}")


def test_every_program_that_speaks_grpc_finds_its_own_certificate(tmp_path: Path) -> None:
    """The service `certificates` is run as it stands; OpenSSL reads what each of the others is pointed to."""
    made = SERVICES["certificates"]["command"].replace("/etc/cdnlab/tls", str(tmp_path))
    subprocess.run([sys.executable, *shlex.split(made)[1:]], cwd=DEPLOY.parent, check=True)
    zone = flags(SERVICES["control-plane"])["zone"]
    replicas = {name: service for name, service in SERVICES.items() if name in REPLICAS}
    programs = {name: service for name, service in NODES.items() if name not in (*ORIGINS, "wan")} | replicas
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
    listening = {proxy.name: proxy.listen for proxy in wan().proxies}
    assert variables["CDNLAB_CONTROL_PLANES"] == ",".join(listening[name] for name in planes)
    first = dict(re.findall(r"--([a-z-]+) (\S+)", variables["CDNLAB_CONTROL_PLANE_FLAGS"]))
    of_each = [first, *(flags(SERVICES[name]) for name in REPLICAS)]
    assert {each["database"] for each in of_each} == {"postgresql://cdnlab@postgres:5432/cdnlab"}
    for name, each in zip(planes, of_each, strict=True):
        assert each["advertise"] == listening[name]
        assert "database" in SERVICES[name]["networks"]
    for name in (*CACHES, "dns-1"):
        assert f"--control-plane ${{CDNLAB_CONTROL_PLANES:-{listening['control-plane']}}} " in SERVICES[name]["command"]


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


def test_nobody_but_the_relays_is_on_the_networks_of_two_programs() -> None:
    """So there is no way between them that is not a link. Control planes stand side by side, and so does who works at their desk."""
    for name in PROGRAMS:
        assert networks_of(name) == {name}
        joined = {other for other in SERVICES if name in networks_of(other)}
        assert joined == {name, "wan"} | INSTRUMENTS
    for name in ("control-plane", *REPLICAS):
        assert networks_of(name) == {"control-plane", "database"}
    at_control_planes = {name for name in SERVICES if "control-plane" in networks_of(name)} - INSTRUMENTS - {"wan"}
    assert not at_control_planes & {*PROGRAMS, *VIEWERS}
    assert not networks_of("wan") & {"database", "load"}


def test_the_relays_are_the_default_gateway_of_every_network_that_they_are_on() -> None:
    """An address of theirs beside the one that the engine gives them, which deploy/relay_addresses.py takes."""
    for network in networks_of("wan") - {"internet"}:
        (config,) = COMPOSE["networks"][network]["ipam"]["config"]
        own = ipaddress.IPv4Address(address("wan", network))
        assert config["aux_addresses"] == {"DefaultGatewayIPv4": str(own + 1)}
        assert config["gateway"] != str(own + 1)
    # And of no other, or a container on two networks would send into the wrong one.
    others = {name for name in COMPOSE["networks"] if name not in networks_of("wan")}
    assert {COMPOSE["networks"][name].get("internal") for name in others} == {True}


def test_where_relays_listen_and_connect_from_is_in_no_network_of_the_containers() -> None:
    """The engine would translate what comes from a subnet of its own on another of its bridges; only where they listen may this machine have a route to."""
    taken = [subnet(name) for name in COMPOSE["networks"] if name != "load"]
    sources = [ipaddress.IPv4Address(place.outgoing_address) for place in wan().places]
    assert len(set(sources)) == len(sources)
    assert not [source for source in sources for network in taken if source in network]
    listening = {ipaddress.IPv4Address(proxy.listen.rpartition(":")[0]) for proxy in wan().proxies}
    assert all(each in subnet("internet") for each in listening)
    dynamic = ipaddress.IPv4Network(COMPOSE["networks"]["internet"]["ipam"]["config"][0]["ip_range"])
    assert not [each for each in listening if each in dynamic]


def test_every_program_is_at_its_place_and_behind_a_relay() -> None:
    places = PlaceFinder(wan().places)
    proxies = {proxy.upstream: proxy for proxy in wan().proxies}
    content = {"edge": 8080, "regional": 8080, "dns_router": 53, "origin": 8080}
    for name in PROGRAMS:
        labels = NODES[name]["labels"]
        assert places.find(address(name)) == labels["cdnlab.region"]
        proxy = proxies[f"{address(name)}:{content[labels['cdnlab.role']]}"]
        assert (proxy.place, proxy.listen) == (labels["cdnlab.region"], labels["cdnlab.advertised"])
    for name in ("control-plane", *REPLICAS):
        plane = address(name, "control-plane")
        assert proxies[f"{plane}:4567"].place == places.find(plane) == "us-east-1"
    assert [each.link.ends for each in wan().links] == [each.between for each in links_of(default())]


def test_edges_believe_the_relays_who_a_viewer_is_and_nobody_else() -> None:
    sources = {place.outgoing_address for place in wan().places}
    by_header = {proxy.name for proxy in wan().proxies if proxy.client_address is ClientAddress.PROXY_V2}
    assert by_header == set(EDGES)
    for name in CACHES:
        if name not in EDGES:
            assert "trusted-proxies" not in flags(SERVICES[name])
            continue
        trusted = ipaddress.IPv4Network(flags(SERVICES[name])["trusted-proxies"])
        assert all(ipaddress.IPv4Address(source) in trusted for source in sources)
        # A browser of this machine comes from the machine's address in the edge's network.
        assert not trusted.overlaps(subnet(name))


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


def test_a_query_is_placed_by_where_the_relays_connect_from_or_by_what_it_says() -> None:
    table = routing_table()
    assert list(table.regions) == list(PLACES)
    assert table.default_region in PLACES
    regions = {name: each.region for name, each in default().population_places()} | {"operator": "us-east-1"}
    sources = {f"{place.outgoing_address}/32": regions.get(place.name, place.name) for place in wan().places}
    said = {each.client_subnet: each.region for each in default().populations}
    assert {each.cidr: each.region for each in table.client_subnets} == sources | said
    assert table.zone == flags(SERVICES["control-plane"])["zone"]


def test_viewers_are_on_the_network_of_their_population_and_ask_the_router_over_a_relay() -> None:
    assert len(VIEWERS) == 3
    router = NODES["dns-1"]["labels"]["cdnlab.advertised"]
    for name in VIEWERS:
        home = f"viewers-{name.removeprefix('load-')}"
        assert networks_of(name) == {home, "load"}
        assert PlaceFinder(wan().places).find(str(subnet(home)[130])) == home
        assert SERVICES[name]["environment"]["CDNLAB_DNS"] == router
        assert SERVICES[name]["dns"] == [router.removesuffix(":53")]


def test_viewers_of_this_machine_come_from_its_own_address_on_the_network_of_their_population() -> None:
    """Which is no container's, and not translated on the way to the relays."""
    found = read_populations(SERVICES["control-plane"]["labels"]["cdnlab.populations"])
    places = PlaceFinder(wan().places)
    for record, (name, _) in zip(found, default().population_places(), strict=True):
        (config,) = COMPOSE["networks"][name]["ipam"]["config"]
        assert record.source == f"{config['gateway']}/32"
        assert places.find(config["gateway"]) == name
        options = COMPOSE["networks"][name]["driver_opts"]
        assert options == {"com.docker.network.bridge.enable_ip_masquerade": "false"}


def test_caches_know_the_origins_by_name() -> None:
    for name in CACHES:
        known = dict(each.split(":") for each in SERVICES[name]["extra_hosts"])
        assert known == {
            origin: NODES[origin]["labels"]["cdnlab.advertised"].removesuffix(":8080") for origin in ORIGINS
        }


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_only_the_rights_that_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert not {"privileged", "network_mode", "pid"} & set(service)
    if name != "wan":
        assert not {"cap_add", "user", "sysctls"} & set(service)


def test_the_relays_have_what_it_takes_to_have_addresses_and_to_give_that_up() -> None:
    """That they do give it up is seen in a container."""
    service = SERVICES["wan"]
    assert service["cap_add"] == ["NET_ADMIN", "SETGID", "SETUID"]
    assert service["sysctls"]["net.ipv4.ip_forward"] == "0"
    assert flags(service)["user"] == "10001"


@pytest.mark.parametrize("name", NODES)
def test_a_node_says_when_it_is_ready(name: str) -> None:
    question = ["8474", "/healthz"] if name == "wan" else [flags(NODES[name])["admin"].rpartition(":")[2]]
    assert NODES[name]["healthcheck"]["test"][3:] == ["/opt/cdnlab/deploy/healthcheck.py", *question]


def test_ports_are_published_on_loopback_and_can_be_moved() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    pattern = r"127\.0\.0\.1:\$\{(CDNLAB_[A-Z0-9_]+_PORT):-(\d+)\}:\d+(?:/(udp|tcp))?"
    matches = [re.fullmatch(pattern, port) for port in published]
    assert all(matches), published
    defaults = [(match[2], match[3] or "tcp") for match in matches if match]
    assert len(defaults) == len(set(defaults))
    assert {"4566", "4568", "8053", "8080", "9090", "8089", "8474"} <= {port for port, _ in defaults}


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
