"""Whom a node can ask when it holds no lease: everybody whom a directory has ever named to it, not the newest directory alone (DESIGN section 4, rule 10).

A node is not in the directory while it holds no lease. So what a node was told last before it was cut off may name nobody else: a control plane that has just been
started names those that have come back so far. It would ask nobody then, and take itself for alone, beside others that follow the control plane a second later.

Kept on disk, since the next process may be cut off from its start. Bounded: of those that have left the directory, the ones that left last.
"""

from collections.abc import Iterable
from typing import Final

from proto.cdn.v1 import sync_pb2

MOST_FORMER: Final = 64
"""Far more than one round of questions asks."""


class KnownPeers:
    """Those of the newest directory, and those that have left it."""

    def __init__(self, former: Iterable[sync_pb2.Node] = ()) -> None:
        self._present: dict[str, sync_pb2.Node] = {}
        self._former: dict[str, sync_pb2.Node] = {node.id: node for node in former}
        """Who left last comes last."""

    def meet(self, directory: sync_pb2.Directory) -> bool:
        """Another directory; whether it has somebody who was not known, or was known elsewhere."""
        before, self._present = {**self._former, **self._present}, {node.id: node for node in directory.nodes}
        former = [node for node_id, node in before.items() if node_id not in self._present]
        self._former = {node.id: node for node in former[-MOST_FORMER:]}
        return any(before.get(node_id) != node for node_id, node in self._present.items())

    def former(self) -> sync_pb2.Directory:
        """Who has left the directory, the last ones first."""
        return sync_pb2.Directory(nodes=reversed(self._former.values()))

    def everybody(self) -> sync_pb2.Directory:
        """As it is kept on disk."""
        return sync_pb2.Directory(nodes=[*self._former.values(), *self._present.values()])
