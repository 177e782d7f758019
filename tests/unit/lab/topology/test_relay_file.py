"""The relays' file: each node finds the control plane where nobody else does, so that relays know whose stream it is."""

from pathlib import Path

import pytest

from lab.topology.layout import CONTROL_PLANE_ID, Layout, Role
from lab.topology.problems import TopologyError
from lab.topology.reader import parse_topology
from lab.topology.relay_file import admin_proxy, control_plane_proxy, relay_document

TOPOLOGY = """\
name: pair
regions: [{name: us, airport: IAD}, {name: eu, airport: FRA}]
pops: [{name: IAD89-P1, region: us, edges: 3}, {name: FRA56-P1, region: eu, edges: 2}]
regional_caches: [{region: us, count: 2}, {region: eu}]
routers: [{region: us}, {region: eu}]
origins: [{name: origin-1, region: us}]
"""


def layout(more: str = "") -> Layout:
    return Layout(parse_topology(TOPOLOGY + more, "pair.yaml"), Path("/state"))


def test_each_node_dials_a_proxy_of_its_own_for_the_control_plane() -> None:
    built = layout()
    proxies = {each["name"]: each for each in relay_document(built)["proxies"]}
    dialled = []
    for node in built.programs():
        proxy = proxies.get(control_plane_proxy(node.id))
        assert (proxy is None) == (node.role is Role.ORIGIN)
        if proxy is not None:
            assert f" --control-plane {proxy['listen']} " in f" {' '.join(node.flags)} "
            assert (proxy["from"], proxy["upstream"]) == (node.region, "127.0.0.1:4567")
            dialled.append(proxy["listen"])
        assert (admin_proxy(node.id) in proxies) == (node.role is not Role.ORIGIN) and node.id in proxies
    assert len(set(dialled)) == len(dialled) == 10
    assert {each["place"] for name, each in proxies.items() if name.startswith(CONTROL_PLANE_ID)} == {"us"}


def test_all_addresses_of_relays_are_different() -> None:
    built = layout()
    listening = [each["listen"] for each in relay_document(built)["proxies"]]
    assert len(set(listening)) == len(listening)
    assert {each.address for each in built.relay_listeners()} == set(listening)


def test_without_relays_all_dial_the_control_plane_itself() -> None:
    dialled = {each.control_plane for each in layout("relays: false\n").programs() if each.role is not Role.ORIGIN}
    assert dialled == {"127.0.0.1:4567"}


def test_the_port_of_grpc_is_not_that_of_admin_ports() -> None:
    with pytest.raises(TopologyError, match="port 4567 is used twice: by control_plane grpc and by admin_port"):
        layout("admin_port: 4567\n")
