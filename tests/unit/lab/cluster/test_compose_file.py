"""Compose files of other topologies than the default one: whole, within their subnets, and without what a topology has no use for."""

import dataclasses
import ipaddress
import re
import shlex
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.cluster.compose_file import Surroundings, compose_file
from lab.cluster.compose_mounts import prometheus_file, routing_table_file, wan_file
from lab.cluster.compose_up import TEMPLATE, project_name, write_files
from lab.cluster.container_facts import populations_label, read_populations
from lab.cluster.container_layout import ContainerLayout
from lab.errors import UsageError
from lab.topology.model import Topology
from lab.topology.reader import parse_topology, read_topology, shipped_topology
from lab.wan.configuration import PlaceFinder
from lab.wan.configuration_file import parse_configuration

LARGE = """\
name: large
loopback: 127.3.0.0/16
viewer_port: 80
admin_port: 9200
control_plane: {api: 5566, grpc: 5567, admin: 5568}
dns_port: 5353
lease_seconds: 3
eviction_policy: sieve
disk_mib: 64
regions:
  - {name: us-east-1, airport: IAD}
  - {name: eu-central-1, airport: FRA}
pops:
  - {name: IAD89-P1, region: us-east-1, edges: 20, cache_mib: 16}
  - {name: IAD61-P2, region: us-east-1, edges: 20}
  - {name: FRA56-P1, region: eu-central-1, edges: 3}
regional_caches: [{region: us-east-1, count: 2}, {region: eu-central-1, count: 3, cache_mib: 512}]
routers: [{region: us-east-1}, {region: eu-central-1}]
origins: [{name: origin-1, region: eu-central-1}]
populations:
  - {region: eu-central-1, client_subnet: 10.2.0.0/16, users: 3}
  - {region: eu-central-1, client_subnet: 10.3.0.0/16, users: 4}
"""


def large() -> Topology:
    return parse_topology(LARGE, "large.yaml")


def without_distance() -> Topology:
    return dataclasses.replace(large(), has_relays=False)


def serve() -> Topology:
    return read_topology(shipped_topology("serve"))


def document(topology: Topology) -> dict[str, Any]:
    text = compose_file(ContainerLayout(topology), Surroundings(project="p", folder="/s"), TEMPLATE.read_text())
    assert not re.search(r"@[A-Z_]+@", text)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@pytest.mark.parametrize("topology", [large(), without_distance(), serve()], ids=["large", "without-distance", "serve"])
def test_every_address_is_used_once_and_lies_in_its_network(topology: Topology) -> None:
    whole = document(topology)
    used = [
        (network, options["ipv4_address"])
        for service in whole["services"].values()
        if isinstance(service["networks"], dict)
        for network, options in service["networks"].items()
        if options
    ]
    assert len({address for _, address in used}) == len(used) > 0
    for network, address in used:
        config = whole["networks"][network]["ipam"]["config"][0]
        assert ipaddress.ip_address(address) in ipaddress.ip_network(config["subnet"])
        assert ipaddress.ip_address(address) not in ipaddress.ip_network(config["ip_range"])
    subnets = [
        ipaddress.ip_network(each["ipam"]["config"][0]["subnet"])
        for each in whole["networks"].values()
        if "ipam" in each
    ]
    assert not any(one.overlaps(other) for one in subnets for other in subnets if one != other)


@pytest.mark.parametrize("topology", [large(), without_distance(), serve()], ids=["large", "without-distance", "serve"])
def test_every_port_is_published_once_and_on_the_lab_s_own_address(topology: Topology) -> None:
    published = list(chain.from_iterable(each.get("ports", ()) for each in document(topology)["services"].values()))
    pattern = rf"{ContainerLayout(topology).host}:\$\{{CDNLAB_[A-Z0-9_]+:-(\d+)\}}:\d+(/\w+)?"
    found = [re.fullmatch(pattern, each) for each in published]
    ports = [(match[1], match[2] or "/tcp") for match in found if match]
    assert len(ports) == len(published) == len(set(ports))


def test_nodes_get_the_ports_the_budgets_and_the_lease_of_the_topology() -> None:
    services = document(large())["services"]
    edge = services["edge-iad89-p1-1"]
    words = shlex.split(edge["command"])
    assert words[-3:] == ["--allow-faults", "--seed", "${CDNLAB_SEED:-0}"]
    flags = dict(zip(words[3:-3:2], words[4:-3:2], strict=True))
    assert (flags["--listen"], flags["--advertise"], flags["--admin"]) == (
        "0.0.0.0:80",
        "10.80.253.18:80",
        "0.0.0.0:9200",
    )
    assert flags["--control-plane"] == "${CDNLAB_CONTROL_PLANES:-10.80.253.1:5567}"
    budgets = {name: flags[name] for name in ("--cache-bytes", "--eviction-policy", "--disk-bytes")}
    assert budgets == {"--cache-bytes": str(16 << 20), "--eviction-policy": "sieve", "--disk-bytes": str(64 << 20)}
    assert edge["mem_limit"] == "160m" and services["regional-eu-central-1-1"]["mem_limit"] == "1152m"
    plane = services["control-plane"]
    assert "--lease-seconds 3 " in plane["command"] and plane["labels"]["cdnlab.lease-seconds"] == "3"
    populations = [
        (each.region, each.client_subnet, each.users)
        for each in read_populations(plane["labels"]["cdnlab.populations"])
    ]
    assert populations == [("eu-central-1", "10.2.0.0/16", 3), ("eu-central-1", "10.3.0.0/16", 4)]
    assert services["edge-fra56-p1-1"]["healthcheck"]["test"][-1] == "9200"
    workers = [
        services[name]["environment"]["CDNLAB_POPULATIONS"] for name in ("load-eu-central-1", "load-eu-central-1-2")
    ]
    assert ['"users": 3' in workers[0], '"users": 4' in workers[1]] == [True, True]


def test_without_distance_a_place_is_a_network_and_there_are_no_relays() -> None:
    whole = document(without_distance())
    services, edge = whole["services"], whole["services"]["edge-fra56-p1-1"]
    assert "wan" not in services and "wan" not in whole["configs"]
    assert set(edge["networks"]) == {"eu-central-1", "backbone", "origins"}
    assert "--advertise 10.80.2.11:80 " in edge["command"]
    assert "--control-plane ${CDNLAB_CONTROL_PLANES:-control-plane:5567} " in " ".join(edge["command"].split())
    assert "--trusted-proxies" not in edge["command"] and "cdnlab.advertised" not in edge["labels"]
    internal = {name for name, network in whole["networks"].items() if network.get("internal")}
    assert set(services["origin-1"]["networks"]) <= internal
    assert "--listen 10.80.200.11:8080 " in services["origin-1"]["command"]
    viewers = services["load-eu-central-1"]
    assert '"users": 7' in viewers["environment"]["CDNLAB_POPULATIONS"]
    assert viewers["dns"] == ["10.80.2.53"] and viewers["networks"] == ["eu-central-1", "us-east-1", "load"]
    table = yaml.safe_load(routing_table_file(ContainerLayout(without_distance())))
    assert {"cidr": "10.80.2.0/24", "region": "eu-central-1"} in table["clientSubnets"]


def test_with_distance_the_relays_join_every_program_and_every_population() -> None:
    topology = large()
    whole, layout = document(topology), ContainerLayout(topology)
    programs = {node.id for node in layout.nodes if node.id != "wan"}
    joined = set(whole["services"]["wan"]["networks"])
    assert joined == programs | {"internet", "viewers-eu-central-1", "viewers-eu-central-1-2"}
    configuration = parse_configuration(wan_file(layout), "wan.yaml")
    places = PlaceFinder(configuration.places)
    for node in layout.nodes:
        networks = whole["services"][node.id]["networks"]
        if node.id != "wan":
            assert places.find(networks[node.id]["ipv4_address"]) == node.region
    assert {proxy.listen.rpartition(":")[0] for proxy in configuration.proxies} <= {
        str(each) for each in ipaddress.ip_network("10.80.253.0/24")
    }


def test_everything_of_a_lab_says_whose_it_is() -> None:
    whole = document(large())
    owner = {"cdnlab.lab": "large", "cdnlab.folder": "/s"}
    for part in ("services", "networks", "volumes"):
        for name, each in whole[part].items():
            assert owner.items() <= each["labels"].items(), (part, name)


def test_a_lab_without_origins_has_no_viewers_and_no_site_of_its_own() -> None:
    services = document(serve())["services"]
    assert not [name for name in services if name.startswith("load") or name == "demo-site"]
    assert services["lab"]["depends_on"] == {"control-plane": {"condition": "service_healthy"}}


def test_the_other_files_are_of_the_same_lab() -> None:
    layout = ContainerLayout(large())
    table = yaml.safe_load(routing_table_file(layout))
    assert {"cidr": "10.80.251.102/32", "region": "eu-central-1"} in table["clientSubnets"]
    scraped = yaml.safe_load(prometheus_file(layout))["scrape_configs"][0]["static_configs"]
    assert {each["targets"][0] for each in scraped} >= {"control-plane:5568", "dns-2:9200", "edge-fra56-p1-3:9200"}


def test_the_files_in_a_state_folder_are_whole(tmp_path: Path) -> None:
    topology = large()
    folder = write_files(tmp_path / "compose", ContainerLayout(topology), project_name(topology), str(tmp_path))
    whole = yaml.safe_load((folder / "compose.yaml").read_text())
    assert whole["name"] == "cdnlab-large-3"
    for name in ("routing-table", "prometheus", "wan"):
        assert (folder / whole["configs"][name]["file"]).is_file()
    assert Path(whole["configs"]["prometheus-rules"]["file"]).is_file()
    assert (Path(whole["services"]["control-plane"]["build"]["context"]) / "deploy" / "Dockerfile").is_file()


def test_what_does_not_fit_is_said_all_at_once() -> None:
    text = LARGE.replace("edges: 20}", "edges: 30}").replace("name: origin-1", "name: prometheus")
    with pytest.raises(UsageError) as caught:
        ContainerLayout(parse_topology(text, "large.yaml"))
    assert str(caught.value).splitlines() == [
        "large.yaml: 50 edges in us-east-1: in containers there can be 42; `--runner processes` has room for more",
        "large.yaml: origin prometheus: in containers that is another service; give it another name",
    ]


def test_populations_are_the_same_after_reading() -> None:
    text = "us-east-1 10.1.0.0/16 10, eu-central-1 10.2.0.0/16 3 10.77.202.1/32"
    assert populations_label(read_populations(text)) == text
    assert read_populations("") == ()
