"""What is configured, by name: a kind and an id (DESIGN section 3). Values and pure functions, shared by the control plane and all nodes."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from proto.cdn.v1 import sync_pb2

CHECKSUM_BYTES: Final = 16
_CHECKSUMS: Final = 1 << (8 * CHECKSUM_BYTES)


@dataclass(frozen=True, slots=True)
class ResourceName:
    """A value of sync_pb2.ResourceKind and an id, which is empty for a kind of which there is one only."""

    kind: int
    identifier: str = ""

    def __str__(self) -> str:
        return f"{kind_name(self.kind)} {self.identifier}".rstrip()


ROUTING_TABLE: Final = ResourceName(sync_pb2.RESOURCE_KIND_ROUTING_TABLE)
GEO_TABLE: Final = ResourceName(sync_pb2.RESOURCE_KIND_GEO_TABLE)
LAB_CLOCK: Final = ResourceName(sync_pb2.RESOURCE_KIND_LAB_CLOCK)

_KIND_NAMES: Final[Mapping[int, str]] = {
    sync_pb2.RESOURCE_KIND_DISTRIBUTION: "distribution",
    sync_pb2.RESOURCE_KIND_ROUTING_TABLE: "routing_table",
    sync_pb2.RESOURCE_KIND_GEO_TABLE: "geo_table",
    sync_pb2.RESOURCE_KIND_CACHE_POLICY: "cache_policy",
    sync_pb2.RESOURCE_KIND_LAB_CLOCK: "lab_clock",
}


def distribution_name(distribution_id: str) -> ResourceName:
    """The distribution of this id."""
    return ResourceName(sync_pb2.RESOURCE_KIND_DISTRIBUTION, distribution_id)


def cache_policy_name(policy_id: str) -> ResourceName:
    """The cache policy of this id."""
    return ResourceName(sync_pb2.RESOURCE_KIND_CACHE_POLICY, policy_id)


def kind_name(kind: int) -> str:
    """For people."""
    return _KIND_NAMES.get(kind, f"kind-{kind}")


def name_of(resource: sync_pb2.Resource) -> ResourceName:
    """What the resource is called."""
    return ResourceName(int(resource.kind), resource.id)


def changed_name(change: sync_pb2.Change) -> ResourceName:
    """What is put or deleted."""
    if change.HasField("put"):
        return name_of(change.put)
    return ResourceName(int(change.delete.kind), change.delete.id)


def put_change(resource: sync_pb2.Resource) -> sync_pb2.Change:
    """The change that puts it."""
    return sync_pb2.Change(put=resource)


def delete_change(name: ResourceName) -> sync_pb2.Change:
    """The change that deletes what is called so."""
    return sync_pb2.Change(delete=name_message(name))


def name_message(name: ResourceName) -> sync_pb2.ResourceName:
    """As it goes over the wire."""
    return sync_pb2.ResourceName(kind=sync_pb2.ResourceKind.ValueType(name.kind), id=name.identifier)


def checksum_of(resource: sync_pb2.Resource) -> int:
    """What one resource adds to the checksum of a set of them."""
    head = b"%d\0%b\0%d\0" % (resource.kind, resource.id.encode(), resource.revision)
    return int.from_bytes(hashlib.blake2b(head + resource.body, digest_size=CHECKSUM_BYTES).digest())


def total_checksum(checksums: Iterable[int]) -> int:
    """Of a set, whatever its order: a member is added or taken away without looking at the others. It finds what was lost, not what somebody forges."""
    return sum(checksums) % _CHECKSUMS


def checksum_bytes(checksum: int) -> bytes:
    """As it goes over the wire and to the disk."""
    return checksum.to_bytes(CHECKSUM_BYTES)
