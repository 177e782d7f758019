"""The tables that a control plane is started with, for routers and for geographic restrictions: read and checked at its start, and appended to the log by whoever leads,
unless they are what is published."""

from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format

from control_plane.geo_table import MAXIMUM_GEO_TABLE_BYTES, GeoTableError, default_geo_table, parse_geo_table
from control_plane.resource_kinds import put_geo_table, put_routing_table
from control_plane.settings import Settings
from control_plane.state import Put
from control_plane.store import SqlStore, WriteFence
from proto.cdn.v1 import configuration_pb2


class TableError(Exception):
    """A table cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class PublishedTables:
    """What is to be published."""

    routing_table: configuration_pb2.RoutingTable | None
    """None: whatever is published already."""
    geo_table: configuration_pb2.GeoTable

    @classmethod
    def read(cls, settings: Settings) -> "PublishedTables":
        """From the files that the settings name. TableError."""
        geo_table = default_geo_table() if settings.geo_table is None else _read_geo_table(settings.geo_table)
        return cls(_routing_table(settings), geo_table)

    def publish(self, store: SqlStore, fence: WriteFence | None) -> None:
        """What is not published so already. StoreError, also where `fence` says that somebody else leads, who may have other tables."""
        if self.routing_table is not None:
            _publish(store, fence, put_routing_table(self.routing_table))
        _publish(store, fence, put_geo_table(self.geo_table))


def _publish(store: SqlStore, fence: WriteFence | None, put: Put) -> None:
    if put.body != store.published(put.name):
        with store.transaction(fence) as transaction:
            transaction.append(put)


def _routing_table(settings: Settings) -> configuration_pb2.RoutingTable | None:
    if settings.routing_table is None:
        return None
    table = _read_routing_table(settings.routing_table)
    table.zone = table.zone or settings.zone
    if table.zone != settings.zone:
        raise TableError(f"{settings.routing_table} is for the zone {table.zone}, not {settings.zone}")
    return table


def _read_geo_table(path: Path) -> configuration_pb2.GeoTable:
    try:
        with path.open("rb") as file:
            return parse_geo_table(file.read(MAXIMUM_GEO_TABLE_BYTES + 1))
    except OSError as error:
        raise TableError(f"cannot read {path}: {_reason(error)}") from error
    except GeoTableError as error:
        raise TableError(f"{path} is not a table of countries: {error}") from error


def _read_routing_table(path: Path) -> configuration_pb2.RoutingTable:
    try:
        return json_format.Parse(path.read_bytes(), configuration_pb2.RoutingTable())
    except OSError as error:
        raise TableError(f"cannot read {path}: {_reason(error)}") from error
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise TableError(f"{path} is not a routing table: {error}") from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
