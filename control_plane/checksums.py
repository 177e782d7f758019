"""What every node of a role should have: a checksum over all resources at the head of the log (DESIGN section 3). Pure.

A node says its own with each heartbeat. One that stands at the head and says another one has not what the log has, whatever the reason: it starts over from a snapshot.
"""

from control_plane.nodes import Role
from control_plane.resource_kinds import kinds_for
from proto.cdn.v1 import sync_pb2
from proto.resources import ResourceName, changed_name, checksum_bytes, checksum_of, name_of, total_checksum


class RoleChecksums:
    """Follows the log."""

    def __init__(self, snapshot: sync_pb2.Snapshot) -> None:
        self._index = snapshot.index
        self._of_resources: dict[ResourceName, int] = {}
        self._totals = dict.fromkeys(Role, 0)
        for resource in snapshot.resources:
            self._replace(name_of(resource), checksum_of(resource))

    def committed(self, entry: sync_pb2.Entry) -> None:
        """The next entry; nothing of one that the snapshot had in it already."""
        if entry.index <= self._index:
            return
        self._index = entry.index
        for change in entry.changes:
            self._replace(changed_name(change), checksum_of(change.put) if change.HasField("put") else 0)

    def differs(self, role: Role, index: int, checksum: bytes) -> bool:
        """Whether a node that stands at `index` has something else than the log. Not known, and so False, of one that is not at the head or does not say."""
        return index == self._index and bool(checksum) and checksum != checksum_bytes(self._totals[role])

    def _replace(self, name: ResourceName, checksum: int) -> None:
        difference = checksum - self._of_resources.pop(name, 0)
        if checksum:
            self._of_resources[name] = checksum
        for role in Role:
            if name.kind in kinds_for(role):
                self._totals[role] = total_checksum((self._totals[role], difference))
