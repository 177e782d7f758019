"""Which version of each resource is served: the newest that this node can honour, of those that it has (DESIGN section 3).

A resource that cannot be honoured leaves the node on its last good version of it, whether it came in an entry, in a snapshot, or was found on disk by another version of
this program. What was refused is kept beside what is served and tried again at each start, so that a node which has learned more serves it without being told again.

When the files are written, and what a node does that has none, is the business of `control/client.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edge_node.control.snapshot_reader import read_distribution, read_geo_table
from edge_node.model.configuration import Distribution
from edge_node.model.errors import RejectedResourceError
from edge_node.policy.geo import GeoTable
from edge_node.policy.router import Snapshot
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.rejected_changes import (
    NOTHING_REJECTED,
    UNKNOWN,
    RejectedChanges,
    read_kept,
    with_rejected,
)

_Message = TypeVar("_Message", configuration_pb2.Distribution, configuration_pb2.GeoTable)
_Value = TypeVar("_Value", Distribution, GeoTable)


@dataclass(frozen=True, slots=True)
class LastGood:
    """What is served, and what is not for now."""

    message: sync_pb2.Snapshot
    """What is served, as it is kept on disk: every resource in it can be honoured."""
    values: Snapshot
    geo_table: GeoTable
    rejected: RejectedChanges


def last_good(newest: sync_pb2.Snapshot, before: sync_pb2.Snapshot) -> LastGood:
    """All that `newest` configures; a resource of it that cannot be honoured is as `before` has it, or is left out if that cannot be honoured either."""
    message = sync_pb2.Snapshot()
    message.CopyFrom(newest)
    del message.distributions[:]
    rejected = NOTHING_REJECTED
    values: dict[str, Distribution] = {}
    known = {distribution.id: distribution for distribution in before.distributions}
    for distribution in newest.distributions:
        served, value, reason = _choose(distribution, known.get(distribution.id), read_distribution)
        if reason:
            rejected = with_rejected(rejected, _entry(newest, put_distribution=distribution), reason)
        if served is not None and value is not None:
            message.distributions.append(served)
            values[served.id] = value
    table_before = before.geo_table if before.HasField("geo_table") else None
    table, geo_table, reason = _choose(newest.geo_table, table_before, read_geo_table)
    if reason:
        rejected = with_rejected(rejected, _entry(newest, put_geo_table=newest.geo_table), reason)
        message.ClearField("geo_table")
        if table is not None and geo_table is not None:
            message.geo_table.CopyFrom(table)
    return LastGood(message, Snapshot(message.log_id, message.index, values), geo_table or GeoTable(), rejected)


def tried_again(kept: sync_pb2.KeptConfiguration) -> LastGood:
    """What a process finds of the one before it. What that one refused is taken if this program can honour it; else it is refused as it was."""
    refused_before = read_kept(kept.rejected)
    newest = sync_pb2.Snapshot()
    newest.CopyFrom(kept.served)
    distributions = {distribution.id: distribution for distribution in kept.served.distributions}
    for change in refused_before.values():
        if change.entry.HasField("put_distribution"):
            distributions[change.entry.put_distribution.id] = change.entry.put_distribution
        elif change.entry.HasField("put_geo_table"):
            newest.geo_table.CopyFrom(change.entry.put_geo_table)
    del newest.distributions[:]
    newest.distributions.extend(distributions.values())
    chosen = last_good(newest, kept.served)
    refused = {resource: refused_before.get(resource, change) for resource, change in chosen.rejected.items()}
    if UNKNOWN in refused_before:
        refused[UNKNOWN] = refused_before[UNKNOWN]
    return LastGood(chosen.message, chosen.values, chosen.geo_table, refused)


def _choose(
    newest: _Message, before: _Message | None, read: Callable[[_Message], _Value]
) -> tuple[_Message | None, _Value | None, str]:
    """The version that is served and what it says, if one can be, and why that is not the newest."""
    value, reason = _tried(newest, read)
    if value is not None:
        return newest, value, ""
    value, _ = _tried(before, read)
    return before, value, reason


def _tried(message: _Message | None, read: Callable[[_Message], _Value]) -> tuple[_Value | None, str]:
    """What the message says, or why it is refused."""
    if message is None:
        return None, ""
    try:
        return read(message), ""
    except RejectedResourceError as error:
        return None, str(error)


def _entry(
    snapshot: sync_pb2.Snapshot,
    *,
    put_distribution: configuration_pb2.Distribution | None = None,
    put_geo_table: configuration_pb2.GeoTable | None = None,
) -> sync_pb2.Entry:
    """A resource of a snapshot as an entry of its own."""
    return sync_pb2.Entry(
        log_id=snapshot.log_id, index=snapshot.index, put_distribution=put_distribution, put_geo_table=put_geo_table
    )
