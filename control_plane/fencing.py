"""When a node without a lease is known to serve nothing old, so that receipts need not wait for it: DESIGN section 4, rules 5 and 10. Pure; times are in seconds.

Such a node asks the nodes that it can reach (`edge_node/policy/fence.py`). It has noticed that it is cut off NOTICE_SECONDS after the end of its lease, if it can reach
one that holds a lease. While nobody holds one it serves what it has; when the first is granted again, it hears of that NOTICE_SECONDS later at the latest.
"""

from collections.abc import Iterable
from math import inf

from control_plane.leases import DRIFT_FRACTION
from control_plane.nodes import NodeRecord
from proto.lease_times import NOTICE_SECONDS

COUNTED_NOTICE_SECONDS = NOTICE_SECONDS * (1 + DRIFT_FRACTION)
"""What we count for NOTICE_SECONDS of a node."""


def fenced_at(node: NodeRecord) -> float:
    """From when on a node without a lease serves nothing unconfirmed. One that leaves knows it at once."""
    return node.unleased_since if node.has_left else node.unleased_since + COUNTED_NOTICE_SECONDS


def is_waited_for(node: NodeRecord, now: float) -> bool:
    """Whether receipts wait for it: it holds a lease, or may not have noticed yet that it does not."""
    return node.is_live or now < fenced_at(node)


def is_news(node: NodeRecord, now: float) -> bool:
    """Whether it holds a lease that nodes without one may not have heard of yet."""
    return node.is_live and now < node.witness_since + COUNTED_NOTICE_SECONDS


def waited_for(nodes: Iterable[NodeRecord], now: float) -> list[NodeRecord]:
    """Whom receipts wait for. While there is a lease that others may not have heard of: everybody, also one that has left: another process of it may be there again."""
    all_nodes = list(nodes)
    if any(is_news(node, now) for node in all_nodes):
        return all_nodes
    return [node for node in all_nodes if is_waited_for(node, now)]


def next_change_at(node: NodeRecord, now: float) -> float:
    """When whether it is waited for changes by the passing of time alone; infinite: not by that."""
    if node.lease_until is None:
        return fenced_at(node) if now < fenced_at(node) else inf
    heard_at = node.witness_since + COUNTED_NOTICE_SECONDS
    return min(node.lease_until, heard_at if now < heard_at else inf)
