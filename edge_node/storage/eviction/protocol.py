"""What the memory store and its eviction policy agree on: the node, and the six verbs of a policy.

The cached object is itself the node of the policy's lists: an entry costs no second object, no table row and no key of its own here.

The store owns the budget. For a new node it calls `evict` until the node fits, and then `admit`; in the other order the new node
may be its own victim, which is allowed (`evict` returns it) and gives away a few hits. Every verb takes constant time, amortised over the requests.
"""

from collections.abc import Iterable
from typing import ClassVar, Final, Protocol, Self, TypeVar

MOST_USES: Final = 3
"""Where the counter of a node stops: S3-FIFO has two bits for it, SIEVE needs one. Small integers are also shared objects, so that counting allocates nothing."""


class Evictable(Protocol):
    """A cached object, as far as a policy is concerned. All fields but `key` and the cost belong to the policy."""

    newer: Self | None
    """The neighbour that came, or was used, after this node."""
    older: Self | None
    uses: int
    """At first 0; counts up to `MOST_USES`."""
    queue: int
    """Which of the policy's queues it is in; 0: in none."""

    @property
    def key(self) -> bytes:
        """What it is found by; ghosts and sketches remember a hash of it."""

    @property
    def cost_bytes(self) -> int:
        """What it takes from the budget; never changes while the node is admitted."""


Node = TypeVar("Node", bound=Evictable)


class EvictionPolicy(Protocol[Node]):
    """Which node leaves next."""

    touch_only_counts: ClassVar[bool]
    """True: `touch` is no more than `if node.uses < MOST_USES: node.uses += 1`, and the store may write that in line, which saves a call for each hit."""

    def __init__(self, capacity_bytes: int) -> None:
        """A policy for a store of that many bytes."""

    def admit(self, node: Node) -> None:
        """A new node comes in. Evicts nothing."""

    def touch(self, node: Node) -> Node | None:
        """A hit. What it returns leaves because of it and is out already; nearly always None, and always if `touch_only_counts`."""

    def remove(self, node: Node) -> None:
        """The node leaves for another reason than room (it was invalidated): it is not remembered."""

    def replace(self, old: Node, new: Node) -> None:
        """`new` is the same object in a newer version (a 304, a refetch) and inherits the place and the count of `old`, so that a refresh costs it nothing."""

    def evict(self) -> Node | None:
        """Take the next victim out and return it; None: nothing is left."""

    def nodes(self) -> Iterable[Node]:
        """All nodes, queue by queue, the older first. For clearing and for checks; not while the policy changes."""
