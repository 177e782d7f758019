"""What a node has refused of the log, by resource: kept on its disk, told to the control plane, and tried again when it starts (DESIGN section 3). Pure.

A mapping is never changed: each change of it gives another one, so that who has told of one sees by identity that nothing has changed.
Shared by edge_node and dns_router; what can be honoured is decided by them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from proto.cdn.v1 import sync_pb2

LONGEST_REASON: Final = 1024
"""Characters; what the control plane keeps of one, and far from the limit of a message."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What is configured, by a value of sync_pb2.ResourceKind and an id; the id is empty for a kind of which there is one only."""

    kind: int
    identifier: str = ""


UNKNOWN: Final = Resource(sync_pb2.RESOURCE_KIND_UNSPECIFIED)
"""Whatever a newer control plane configures by kinds of entries that this program does not know."""
ROUTING_TABLE: Final = Resource(sync_pb2.RESOURCE_KIND_ROUTING_TABLE)
GEO_TABLE: Final = Resource(sync_pb2.RESOURCE_KIND_GEO_TABLE)

_KIND_NAMES: Final[Mapping[int, str]] = {
    sync_pb2.RESOURCE_KIND_DISTRIBUTION: "distribution",
    sync_pb2.RESOURCE_KIND_ROUTING_TABLE: "routing_table",
    sync_pb2.RESOURCE_KIND_GEO_TABLE: "geo_table",
}

RejectedChanges = Mapping[Resource, sync_pb2.RejectedChange]
NOTHING_REJECTED: Final[RejectedChanges] = MappingProxyType({})


def distribution_resource(distribution_id: str) -> Resource:
    """The distribution of this id."""
    return Resource(sync_pb2.RESOURCE_KIND_DISTRIBUTION, distribution_id)


def resource_of(entry: sync_pb2.Entry) -> Resource | None:
    """What an entry changes; None when it configures nothing."""
    match entry.WhichOneof("change"):
        case "put_distribution":
            return distribution_resource(entry.put_distribution.id)
        case "remove_distribution_id":
            return distribution_resource(entry.remove_distribution_id)
        case "put_routing_table":
            return ROUTING_TABLE
        case "put_geo_table":
            return GEO_TABLE
        case "invalidation":
            return None
        case _:
            return UNKNOWN


def with_rejected(rejected: RejectedChanges, entry: sync_pb2.Entry, reason: str) -> RejectedChanges:
    """The newest version of the entry's resource is refused."""
    resource = resource_of(entry)
    if resource is None:
        raise ValueError(f"entry {entry.index} configures nothing that could be refused")
    rejection = sync_pb2.Rejection(index=entry.index, reason=reason[:LONGEST_REASON])
    rejection.kind, rejection.id = sync_pb2.ResourceKind.ValueType(resource.kind), resource.identifier
    return {**rejected, resource: sync_pb2.RejectedChange(rejection=rejection, entry=entry)}


def without(rejected: RejectedChanges, resource: Resource) -> RejectedChanges:
    """The resource is no longer refused; the same mapping if it was not."""
    if resource not in rejected:
        return rejected
    return {known: change for known, change in rejected.items() if known != resource}


def read_kept(changes: Iterable[sync_pb2.RejectedChange]) -> RejectedChanges:
    """What was kept on disk."""
    return {Resource(int(change.rejection.kind), change.rejection.id): change for change in changes}


def has_learned_kinds(rejected: RejectedChanges) -> bool:
    """Whether this program knows a kind that an earlier one did not: only the first entry of those was kept, so what they configure has to be asked for again."""
    change = rejected.get(UNKNOWN)
    return change is not None and resource_of(change.entry) != UNKNOWN


def kind_name(kind: int) -> str:
    """For people."""
    return _KIND_NAMES.get(kind, "unknown")


def to_json(rejection: sync_pb2.Rejection) -> dict[str, object]:
    """As `/status` has it: kind, id, index and reason."""
    kind = kind_name(int(rejection.kind))
    return {"kind": kind, "id": rejection.id, "index": rejection.index, "reason": rejection.reason}
