"""Whom a node may ask is everybody whom a directory has named to it, also after that node has left the directory, and after a restart."""

from pathlib import Path

from edge_node.control.client import KNOWN_PEERS_FILE, ControlClient
from edge_node.control.known_peers import MOST_FORMER, KnownPeers
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import sync_pb2
from tests.edge_wires import leased_fence


def node(identifier: str, address: str = "192.0.2.1:81") -> sync_pb2.Node:
    return sync_pb2.Node(id=identifier, role=sync_pb2.ROLE_REGIONAL, http_address="192.0.2.1:80", admin_address=address)


def directory(*identifiers: str) -> sync_pb2.Directory:
    return sync_pb2.Directory(nodes=map(node, identifiers))


def ids(message: sync_pb2.Directory) -> list[str]:
    return [each.id for each in message.nodes]


def test_who_leaves_the_directory_is_remembered_and_who_left_last_comes_first() -> None:
    known = KnownPeers()
    assert known.meet(directory("a", "b", "c"))
    assert not known.meet(directory("b", "c"))
    assert not known.meet(directory("c"))
    assert ids(known.former()) == ["b", "a"]
    assert ids(known.everybody()) == ["a", "b", "c"]


def test_who_comes_back_is_no_former_one_and_a_new_address_is_news() -> None:
    known = KnownPeers(directory("a").nodes)
    assert not known.meet(directory("a")), "known already"
    assert known.meet(sync_pb2.Directory(nodes=[node("a", "192.0.2.7:81")]))
    assert ids(known.former()) == []


def test_it_is_bounded() -> None:
    known = KnownPeers()
    for number in range(MOST_FORMER + 10):
        known.meet(directory(f"n{number}"))
    assert len(known.former().nodes) == MOST_FORMER
    assert ids(known.former())[0] == f"n{MOST_FORMER + 8}"


class Edge:
    """One process of a node after the other, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.state = NodeState("eu", leased_fence())
        self.client = ControlClient(self.state, "eu", folder, lambda: (0, 0))
        self.client.restore()

    def asks(self) -> set[str]:
        return {peer.id for peer in (*self.state.peers, *self.state.former_peers)}


def test_a_node_that_is_told_of_nobody_else_still_asks_those_of_before_and_so_does_its_next_process(
    tmp_path: Path,
) -> None:
    edge = Edge(tmp_path)
    edge.client.apply_directory(directory("edge-1", "regional-1"))
    edge.client.apply_directory(directory("edge-1"))
    assert [peer.id for peer in edge.state.regionals] == ["edge-1"], "what has no lease is no upstream"
    assert edge.asks() == {"edge-1", "regional-1"}
    edge.client.close()
    assert Edge(tmp_path).asks() == {"edge-1", "regional-1"}


def test_a_damaged_file_costs_what_was_in_it_and_nothing_else(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    edge.client.apply_directory(directory("edge-1", "regional-1"))
    edge.client.apply_directory(directory("edge-1"))
    edge.client.close()
    (tmp_path / KNOWN_PEERS_FILE).write_bytes(b"what")
    assert Edge(tmp_path).asks() == {"edge-1"}
