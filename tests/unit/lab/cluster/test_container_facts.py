"""How a container is read as a node: from its labels, from the flags it was started with, from its networks."""

from typing import Any

from lab.cluster.container_facts import lab_facts, place_in_order, read_facts, read_limits, to_node
from lab.cluster.interface import Limits
from lab.topology.layout import Role


def attributes(
    role: str, command: str, *, is_running: bool = True, ports: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What the engine says of a container on two networks."""
    return {
        "Config": {
            "Cmd": command.split(),
            "Labels": {
                "cdnlab.node": "n-1",
                "cdnlab.role": role,
                "cdnlab.region": "us-east-1",
                "cdnlab.pop": "IAD89-P1",
            },
        },
        "State": {"Running": is_running},
        "NetworkSettings": {
            "Networks": {"us-east-1": {"IPAddress": "10.77.1.11"}, "backbone": {"IPAddress": "10.77.100.11"}},
            "Ports": ports or {},
        },
    }


def test_an_edge_is_where_it_advertises_itself() -> None:
    command = (
        "python -m edge_node --role edge --listen 0.0.0.0:8080 --advertise 10.77.1.11:8080 "
        "--admin 0.0.0.0:9100 --advertise-admin 10.77.100.11:9100"
    )
    node = to_node(read_facts("c0ffee", attributes("edge", command)))
    assert (node.id, node.role, node.region, node.pop) == ("n-1", Role.EDGE, "us-east-1", "IAD89-P1")
    assert (node.http, node.admin, node.dns) == ("10.77.1.11:8080", "10.77.100.11:9100", "")
    assert (node.container, node.pid, node.is_running) == ("c0ffee", None, True)


def test_with_relays_it_is_reached_there_by_others_and_at_its_own_address_by_this_machine() -> None:
    """Also while it does not run: then the engine knows which address it will have."""
    command = (
        "python -m edge_node --role edge --listen 0.0.0.0:8080 --advertise 10.77.253.14:8080 "
        "--admin 0.0.0.0:9100 --advertise-admin 10.77.253.14:9100"
    )
    described = attributes("edge", command, is_running=False)
    described["Config"]["Labels"]["cdnlab.advertised"] = "10.77.253.14:8080"
    stopped = {"IPAddress": "", "IPAMConfig": {"IPv4Address": "10.77.14.4"}}
    described["NetworkSettings"]["Networks"] = {"edge-iad89-p1-1": stopped}
    node = to_node(read_facts("c0ffee", described))
    assert (node.http, node.admin) == ("10.77.14.4:8080", "10.77.14.4:9100")
    assert node.advertised == node.reached_at == "10.77.253.14:8080"


def test_the_relays_are_asked_where_their_api_is_published() -> None:
    ports = {"8474/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18474"}]}
    command = "python -m deploy.relay_addresses --config /etc/cdnlab/wan.yaml --user 10001"
    node = to_node(read_facts("c0ffee", attributes("wan", command, ports=ports)))
    assert (node.role, node.http, node.admin, node.dns) == (Role.WAN, "", "127.0.0.1:18474", "")


def test_who_advertises_nothing_is_at_the_container_s_own_address() -> None:
    command = "python -m origin --node-id origin-1 --listen 10.77.200.11:8080 --admin 0.0.0.0:9100"
    node = to_node(read_facts("c0ffee", attributes("origin", command)))
    assert (node.http, node.admin) == ("10.77.200.11:8080", "10.77.100.11:9100")


def test_the_control_plane_is_asked_where_it_is_published() -> None:
    ports = {"4566/tcp": [{"HostIp": "127.0.0.1", "HostPort": "14566"}], "4567/tcp": None, "4568/tcp": []}
    command = "python -m control_plane --api 0.0.0.0:4566 --grpc 0.0.0.0:4567 --admin 0.0.0.0:4568"
    node = to_node(read_facts("c0ffee", attributes("control_plane", command, ports=ports)))
    assert (node.http, node.admin) == ("127.0.0.1:14566", "10.77.100.11:4568")


def test_a_router_speaks_dns_and_not_http() -> None:
    command = "python -m dns_router --listen 0.0.0.0:53 --advertise 10.77.100.53:53 --admin 0.0.0.0:9100"
    node = to_node(read_facts("c0ffee", attributes("dns_router", command)))
    assert (node.http, node.dns) == ("", "10.77.100.53:53")


def test_a_container_that_has_ended_has_no_address() -> None:
    stopped = attributes("edge", "python -m edge_node --listen 0.0.0.0:8080", is_running=False)
    stopped["NetworkSettings"] = {"Networks": {"backbone": {"IPAddress": ""}}, "Ports": {}}
    node = to_node(read_facts("c0ffee", stopped))
    assert not node.is_running
    assert node.admin == ""


def test_limits_are_those_that_the_engine_knows() -> None:
    """Which is what a fault has to give back."""
    assert read_limits({"HostConfig": {"Memory": 256 << 20, "CpuQuota": 0, "NanoCpus": 0}}) == Limits(0.0, 256)
    assert read_limits({"HostConfig": {"Memory": 0, "CpuPeriod": 100_000, "CpuQuota": 50_000}}) == Limits(0.5, 0)
    assert read_limits({"HostConfig": {"Memory": -1, "CpuQuota": -1, "NanoCpus": 1_500_000_000}}) == Limits(1.5, 0)
    assert read_limits({}) == Limits(0.0, 0)


def test_a_router_is_asked_where_it_is_published_whatever_its_port_for_tcp_is() -> None:
    ports = {
        "53/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32001"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "32002"}],
    }
    command = "python -m dns_router --listen 0.0.0.0:53 --advertise 10.77.100.53:53 --admin 0.0.0.0:9100"
    node = to_node(read_facts("c0ffee", attributes("dns_router", command, ports=ports)))
    assert (node.http, node.dns) == ("", "127.0.0.1:32002")


def test_nodes_are_in_the_order_of_their_addresses() -> None:
    def edge(number: int) -> str:
        return f"python -m edge_node --listen 0.0.0.0:80 --admin 0.0.0.0:90 --advertise-admin 10.77.100.{number}:90"

    nodes = [to_node(read_facts(f"c{number}", attributes("edge", edge(number)))) for number in (100, 11, 9)]
    gone = to_node(read_facts("gone", attributes("control_plane", "python -m control_plane")))
    ordered = sorted([*nodes, gone], key=place_in_order)
    assert [node.container for node in ordered] == ["gone", "c9", "c11", "c100"]


def test_a_file_of_before_there_were_labels_is_the_default_lab_s() -> None:
    command = "python -m control_plane --api 0.0.0.0:4566 --zone cdn.example"
    facts = lab_facts(read_facts("c0ffee", attributes("control_plane", command)), None)
    assert (facts.zone, facts.endpoint) == ("cdn.example", "http://10.77.100.11:4566")
    assert (facts.viewer_port, facts.lease_seconds, facts.populations, facts.shared_http) == (8080, 5.0, (), "")
