"""What a node has refused of the log, by resource: kept on its disk, told to the control plane, and tried again when it starts (DESIGN section 3). Pure.

A mapping is never changed: each change of it gives another one, so that who has told of one sees by identity that nothing has changed.
Shared by edge_node and dns_router; what can be honoured is decided by them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proto.cdn.v1 import sync_pb2
from proto.resources import ResourceName, changed_name, kind_name

LONGEST_REASON: Final = 1024
"""Characters; what the control plane keeps of one, and far from the limit of a message."""

RejectedChanges = Mapping[ResourceName, sync_pb2.RejectedChange]
NOTHING_REJECTED: Final[RejectedChanges] = MappingProxyType({})


def rejected_change(change: sync_pb2.Change, index: int, reason: str) -> sync_pb2.RejectedChange:
    """The change that came in the entry at `index` is refused."""
    name = changed_name(change)
    rejection = sync_pb2.Rejection(index=index, reason=reason[:LONGEST_REASON])
    rejection.kind, rejection.id = sync_pb2.ResourceKind.ValueType(name.kind), name.identifier
    return sync_pb2.RejectedChange(rejection=rejection, change=change)


def to_json(rejection: sync_pb2.Rejection) -> dict[str, object]:
    """As `/status` has it: kind, id, index and reason."""
    kind = kind_name(int(rejection.kind))
    return {"kind": kind, "id": rejection.id, "index": rejection.index, "reason": rejection.reason}
