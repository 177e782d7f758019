"""Who is alive, as it is told to nodes: whole at the start of a stream, then what is different (decisions 2 and 21).

Serialized once for all nodes that were told the same before. Who is alive is decided in `coordination.py`; when it is told, in `sync.py` and `streams.py`.
"""

from collections import deque
from collections.abc import Iterable

from control_plane.nodes import NodeDescription
from proto.cdn.v1 import sync_pb2
from proto.node_messages import to_node

REMEMBERED_VERSIONS = 64
"""A stream on which a node has missed more, because it did not read, gets the whole directory."""


class DirectoryFrames:
    """The directory, and what a node that was told an older version lacks of it."""

    def __init__(self) -> None:
        self.version = 0
        """0 until there is one."""
        self._nodes: dict[str, NodeDescription] = {}
        self._changed_ids: deque[frozenset[str]] = deque(maxlen=REMEMBERED_VERSIONS)
        """Of each version up to the newest."""
        self._frames: dict[int | None, bytes] = {}

    def update(self, live: Iterable[NodeDescription]) -> int:
        """Take these for the nodes that are alive now; how many lines are different. The first directory is one even when it is empty."""
        before, self._nodes = self._nodes, {node.identifier: node for node in live}
        identifiers = before.keys() | self._nodes.keys()
        changed = frozenset(i for i in identifiers if before.get(i) != self._nodes.get(i))
        if changed or not self.version:
            self.version += 1
            self._changed_ids.append(changed)
            self._frames.clear()
        return len(changed)

    def since(self, version: int | None) -> bytes | None:
        """What to send on a stream that was told `version` last, None for nothing yet; None when it lacks nothing."""
        if version == self.version or not self.version:
            return None
        if version not in self._frames:
            self._frames[version] = self._message(version).SerializeToString()
        return self._frames[version]

    def _message(self, version: int | None) -> sync_pb2.ControlMessage:
        missed = None if version is None else self.version - version
        if version is None or missed is None or missed > len(self._changed_ids):
            directory = sync_pb2.Directory(version=self.version, nodes=map(to_node, self._nodes.values()))
            return sync_pb2.ControlMessage(directory=directory)
        changed = sorted(frozenset().union(*list(self._changed_ids)[-missed:]))
        change = sync_pb2.DirectoryChange(
            from_version=version,
            version=self.version,
            put=[to_node(self._nodes[node_id]) for node_id in changed if node_id in self._nodes],
            removed_ids=[node_id for node_id in changed if node_id not in self._nodes],
        )
        return sync_pb2.ControlMessage(directory_change=change)
