"""A doubly linked list whose links are fields of its nodes, with the bytes in it. The one place that moves links.

Order is age: by arrival for the FIFO family, by last use for the LRU family. What the order means is up to the policy.
"""

from collections.abc import Iterator
from typing import Generic

from edge_node.storage.eviction.protocol import Node


class Queue(Generic[Node]):
    """Nodes from oldest to newest."""

    __slots__ = ("cost_bytes", "newest", "number", "oldest")

    def __init__(self, number: int) -> None:
        """`number`, above 0, is what nodes in this queue carry as `node.queue`."""
        self.number = number
        self.newest: Node | None = None
        self.oldest: Node | None = None
        self.cost_bytes = 0

    def push(self, node: Node) -> None:
        """Link a node in as the newest."""
        newest = self.newest
        node.older = newest
        node.newer = None
        if newest is None:
            self.oldest = node
        else:
            newest.newer = node
        self.newest = node
        node.queue = self.number
        self.cost_bytes += node.cost_bytes

    def unlink(self, node: Node) -> None:
        """Take a node out; it keeps no link, so that it keeps no neighbour alive."""
        newer, older = node.newer, node.older
        if newer is None:
            self.newest = older
        else:
            newer.older = older
        if older is None:
            self.oldest = newer
        else:
            older.newer = newer
        node.newer = node.older = None
        node.queue = 0
        self.cost_bytes -= node.cost_bytes

    def renew(self, node: Node) -> None:
        """Make a node of this queue its newest. Written out, not `unlink` and `push`: for LRU this is the hot path."""
        newer = node.newer
        if newer is None:
            return
        older = node.older
        newer.older = older
        if older is None:
            self.oldest = newer
        else:
            older.newer = newer
        newest = self.newest
        assert newest is not None
        newest.newer = node
        node.older = newest
        node.newer = None
        self.newest = node

    def replace(self, old: Node, new: Node) -> None:
        """Put `new`, with the count of `old`, where `old` is."""
        newer, older = old.newer, old.older
        if newer is None:
            self.newest = new
        else:
            newer.older = new
        if older is None:
            self.oldest = new
        else:
            older.newer = new
        uses = old.uses
        old.newer = old.older = None
        old.queue = 0
        new.newer, new.older, new.uses, new.queue = newer, older, uses, self.number  # last: the two may be one
        self.cost_bytes += new.cost_bytes - old.cost_bytes

    def __iter__(self) -> Iterator[Node]:
        node = self.oldest
        while node is not None:
            yield node
            node = node.newer
