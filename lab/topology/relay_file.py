"""What the relays of a lab of processes are told: the file of docs/wan.md, made from a layout.

Who connects from where: edges and regional caches from their own addresses, viewers from those of their population, programs that bind none (an operator's curl) from
the machine's own; gRPC by the address that it dials, one for each node. What a server sees of its client: an edge learns a viewer's address from a PROXY header,
so that viewers may be on other machines; all others see the client's own address, since the relay connects from it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

import yaml

from lab.topology.internet import links_of
from lab.topology.layout import CONTROL_PLANE_ID, Layout, NodeSpec, Role
from lab.topology.links import OPERATOR, LinkValues, PathValues
from lab.topology.model import Topology

OPERATORS_NETWORK: Final = "127.0.0.1/32"
_HEADING: Final = """\
# Made by `cdnlab up` from the topology {name}: the relays between its places (docs/wan.md). It is read once, when they start.
"""
FROM_OWN_ADDRESS: Final = (Role.EDGE, Role.REGIONAL)
"""Who connects from where it listens."""


def relay_file(layout: Layout) -> str:
    """As text, for people to read."""
    return relay_text(relay_document(layout), _HEADING.format(name=layout.topology.name))


def relay_text(document: Mapping[str, Any], heading: str) -> str:
    """A line for each thing that is listed."""
    lines = [heading]
    for key, value in document.items():
        if isinstance(value, list):
            lines += [f"{key}:\n", *(f"  - {_on_one_line(each)}\n" for each in value)]
        else:
            lines.append(f"{key}: {value}\n")
    return "".join(lines)


def _on_one_line(item: Mapping[str, Any]) -> str:
    return yaml.safe_dump(item, sort_keys=False, default_flow_style=True, width=1_000_000).strip()


def relay_document(layout: Layout) -> Mapping[str, Any]:
    """The keys of docs/wan.md."""
    return {
        "api": f"{layout.range.own}:{layout.topology.ports.wan}",
        "outgoing_address": layout.range.relays,
        **seed_key(layout.topology),
        "places": [{"name": name, "networks": networks} for name, networks in _places(layout)],
        "proxies": [*_proxies(layout)],
        "links": [link_document(link) for link in links_of(layout.topology)],
    }


def seed_key(topology: Topology) -> Mapping[str, int]:
    """Of the relays; nothing where it is chance."""
    return {} if topology.seed is None else {"seed": topology.seed}


def link_document(link: LinkValues) -> Mapping[str, Any]:
    """The same both ways is said once."""
    forward = _path(link.forward)
    backward = {} if link.backward == link.forward else {"backward": _path(link.backward)}
    return {"between": list(link.between), **forward, **backward}


def _path(path: PathValues) -> dict[str, Any]:
    """Without what is the default of docs/wan.md anyway; the delay always, since that is what people look for."""
    default = asdict(PathValues(0))
    given = asdict(path)
    return {name: value for name, value in given.items() if name == "delay_ms" or value != default[name]}


def _places(layout: Layout) -> Iterator[tuple[str, list[str]]]:
    own = [node for node in layout.programs() if node.role in FROM_OWN_ADDRESS]
    for number, region in enumerate(layout.topology.regions, start=1):
        hosts = [node.http.rpartition(":")[0] for node in own if node.region == region.name]
        yield region.name, [f"{host}/32" for host in (*hosts, layout.range.measuring(number))]
    for number, (name, _) in enumerate(layout.topology.population_places(), start=1):
        yield name, [layout.range.viewers(number)]
    yield OPERATOR, [OPERATORS_NETWORK]


def _proxies(layout: Layout) -> Iterator[Mapping[str, Any]]:
    grpc = f"{layout.range.own}:{layout.topology.ports.control_plane.grpc}"
    home = layout.control_plane().region
    for node in layout.programs():
        yield from _proxies_of(node)
        if node.control_plane:
            yield proxy_document(control_plane_proxy(node.id), node.control_plane, grpc, home) | {"from": node.region}


def admin_proxy(node_id: str) -> str:
    """The one that leads to the node's admin port. What it is there for is reached by the one that has its id."""
    return f"{node_id} admin"


def control_plane_proxy(node_id: str) -> str:
    """The one by which this node, and nobody else, finds the control plane."""
    return f"{CONTROL_PLANE_ID} for {node_id}"


def _proxies_of(node: NodeSpec) -> Iterator[Mapping[str, Any]]:
    reached = node.advertised
    if reached.http:
        sees = "proxy-v2" if node.role is Role.EDGE else "bound"
        yield proxy_document(node.id, reached.http, node.http, node.region) | {"client_address": sees}
    if reached.dns:
        yield proxy_document(node.id, reached.dns, node.dns, node.region) | {
            "transport": "both",
            "client_address": "bound",
        }
    if reached.admin:
        yield proxy_document(admin_proxy(node.id), reached.admin, node.admin, node.region)


def proxy_document(name: str, listen: str, upstream: str, place: str) -> dict[str, Any]:
    """What every proxy has."""
    return {"name": name, "listen": listen, "upstream": upstream, "place": place}
