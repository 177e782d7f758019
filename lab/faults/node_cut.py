"""`cut`: one node is cut off from others. Links are between places, so it is done at the relays for the node itself: at the proxies that lead to it, and for its own
address at those that lead to the others. A program that binds no address is known by the proxies that only it uses (lab/topology/relay_file.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lab.cluster.interface import Cluster
from lab.cluster.status import RunningNode
from lab.errors import UsageError
from lab.faults.lease import LEASE_ID, Memory
from lab.faults.parameters import Value
from lab.faults.relays import relays_of, running_relays
from lab.faults.targets import listed
from lab.topology.layout import Role
from lab.topology.relay_file import FROM_OWN_ADDRESS, admin_proxy, control_plane_proxy

ALL: Final = "all"
_STREAMS: Final = {"both": ("both", "both"), "in": ("upstream", "downstream"), "out": ("downstream", "upstream")}
"""Of a node as a server, and as a client: what is lost of what others say to it, and of what it says to them."""

_NO_MEMORY: Memory = {}
Pair = Mapping[str, object]
"""As docs/wan.md has it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Who is there: nodes, places, and the names of proxies."""

    nodes: Sequence[RunningNode]
    places: Sequence[str]
    proxies: Sequence[str]


def cut_off(lab: Cluster, node_id: str, parameters: Mapping[str, Value]) -> Memory:
    api = relays_of(lab)
    places = dict.fromkeys(end for link in api.links() for end in link.ends)
    around = Surroundings(lab.nodes(), tuple(places), api.proxies())
    pairs = pairs_of(node_id, str(parameters["from"]).split(","), str(parameters["direction"]), around)
    api.add_cut({"name": _name(node_id, parameters), "pairs": pairs})
    return _NO_MEMORY


def connect_again(lab: Cluster, node_id: str, parameters: Mapping[str, Value], _memory: Memory) -> None:
    api = running_relays(lab)
    if api is not None:
        api.remove_cut(_name(node_id, parameters))


def _name(node_id: str, parameters: Mapping[str, Value]) -> str:
    """Each node of a lease is cut by itself."""
    return f"{parameters[LEASE_ID]}.{node_id}"


def pairs_of(node_id: str, others: Sequence[str], direction: str, around: Surroundings) -> list[Pair]:
    """What of the relays is cut. UsageError for somebody whom there is not, or when nothing leads from one to the other."""
    node = next(each for each in around.nodes if each.id == node_id)
    far = list(_others(node, others, around))
    as_server, as_client = _STREAMS[direction]
    clients = [] if ALL in others else [*_clients(others, far, around)] or None
    pairs = [
        _pair(clients, _served_by(node, around), as_server),
        _pair(_own_clients(node), _served_by_any(far, around), as_client),
        *_streams_of_control(node, far, as_client, as_server, around),
    ]
    found = [pair for pair in pairs if pair is not None]
    if not found:
        raise UsageError(f"no relay is between {node_id} and {', '.join(others)}")
    return found


def _others(node: RunningNode, names: Sequence[str], around: Surroundings) -> Iterator[RunningNode]:
    ids = [each.id for each in around.nodes if each.role is not Role.WAN]
    for name in names:
        if name not in (ALL, *ids, *around.places):
            raise UsageError(f"from {name!r}: there are {ALL}, {listed((*around.places, *ids))}")
    for each in around.nodes:
        if each.id != node.id and each.role is not Role.WAN and {ALL, each.id, each.region}.intersection(names):
            yield each


def _clients(names: Sequence[str], far: Iterable[RunningNode], around: Surroundings) -> Iterator[str]:
    """The relays know places, and nodes by their addresses."""
    nodes = {each.id: each for each in far}
    for name in names:
        if name in around.places:
            yield name
        elif name in nodes:
            yield from _own_clients(nodes[name]) or ()


def _own_clients(node: RunningNode) -> list[str] | None:
    """Where it connects from, if that is its own. None: from no address that says so."""
    return [f"{node.http.rpartition(':')[0]}/32"] if node.role in FROM_OWN_ADDRESS else None


def _served_by(node: RunningNode, around: Surroundings) -> list[str]:
    """The proxies that lead to it, but for the streams of the control plane."""
    return [name for name in (node.id, admin_proxy(node.id)) if name in around.proxies]


def _served_by_any(nodes: Iterable[RunningNode], around: Surroundings) -> list[str]:
    return [proxy for node in nodes for proxy in _served_by(node, around)]


def _streams_of_control(
    node: RunningNode, far: Sequence[RunningNode], as_client: str, as_server: str, around: Surroundings
) -> Iterator[Pair | None]:
    if node.role is Role.CONTROL_PLANE:
        theirs = (control_plane_proxy(each.id) for each in far)
        yield _pair([], [name for name in theirs if name in around.proxies], as_server)
    elif any(each.role is Role.CONTROL_PLANE for each in far):
        own = control_plane_proxy(node.id)
        yield _pair([], [own] if own in around.proxies else [], as_client)


def _pair(clients: list[str] | None, proxies: list[str], stream: str) -> Pair | None:
    """An empty list of clients is everybody; None of them is nobody."""
    if clients is None or not proxies:
        return None
    return {"clients": clients, "proxies": proxies, "stream": stream}
