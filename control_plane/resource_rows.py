"""What the log amounts to at its head, as rows: resources and the references between them. In the transaction of the entry that changes them."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from control_plane import tables
from control_plane.change_log import resource_message
from control_plane.resource_kinds import references_of
from control_plane.state import BrokenReferenceError, Delete, Put
from proto.cdn.v1 import sync_pb2
from proto.resources import ResourceName

_RESOURCES = tables.resources.c
_REFERENCES = tables.resource_references.c


class SqlResources:
    """See state.Transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def body(self, name: ResourceName) -> bytes | None:
        """Of a resource, or None."""
        return self._connection.execute(select(_RESOURCES.body).where(_is(name))).scalar_one_or_none()

    def revision(self, name: ResourceName) -> int:
        """Index of the entry that has put it last; 0 where it is not there."""
        query = select(_RESOURCES.revision).where(_is(name))
        return int(self._connection.execute(query).scalar_one_or_none() or 0)

    def references_of(self, name: ResourceName) -> Sequence[ResourceName]:
        """What it refers to."""
        query = select(_REFERENCES.target_kind, _REFERENCES.target_identifier).where(_is_from(name))
        return [ResourceName(*row) for row in self._connection.execute(query)]

    def referring_to(self, name: ResourceName) -> Sequence[ResourceName]:
        """What refers to it."""
        query = select(_REFERENCES.kind, _REFERENCES.identifier).where(
            _REFERENCES.target_kind == name.kind, _REFERENCES.target_identifier == name.identifier
        )
        return [ResourceName(*row) for row in self._connection.execute(query)]

    def change(self, changes: Sequence[Put | Delete], revision: int) -> None:
        """Apply the changes of an entry, as a whole. BrokenReferenceError when something would refer to nothing."""
        for change in changes:
            self._remove(change.name)
            if isinstance(change, Put):
                self._add(change, revision)
        for change in changes:
            self._check(change)

    def _remove(self, name: ResourceName) -> None:
        self._connection.execute(delete(tables.resources).where(_is(name)))
        self._connection.execute(delete(tables.resource_references).where(_is_from(name)))

    def _add(self, put: Put, revision: int) -> None:
        name = put.name
        row = insert(tables.resources).values(
            kind=name.kind, identifier=name.identifier, revision=revision, body=put.body
        )
        self._connection.execute(row)
        rows = [
            {
                "kind": name.kind,
                "identifier": name.identifier,
                "target_kind": target.kind,
                "target_identifier": target.identifier,
            }
            for target in references_of(name, put.body)
        ]
        if rows:
            self._connection.execute(insert(tables.resource_references), rows)

    def _check(self, change: Put | Delete) -> None:
        match change:
            case Put(name):
                missing = [target for target in self.references_of(name) if self.body(target) is None]
                if missing:
                    raise BrokenReferenceError(f"{name} refers to {missing[0]}, which is not there")
            case Delete(name):
                left = self.referring_to(name)
                if left:
                    raise BrokenReferenceError(f"{left[0]} would refer to {name}, which would be gone")


def read_resources(connection: Connection) -> list[sync_pb2.Resource]:
    """All that is configured, in an order that does not change by itself."""
    query = select(tables.resources).order_by(_RESOURCES.kind, _RESOURCES.identifier)
    return [
        resource_message(ResourceName(row.kind, row.identifier), row.revision, row.body)
        for row in connection.execute(query)
    ]


def _is(name: ResourceName) -> ColumnElement[bool]:
    return and_(_RESOURCES.kind == name.kind, _RESOURCES.identifier == name.identifier)


def _is_from(name: ResourceName) -> ColumnElement[bool]:
    return and_(_REFERENCES.kind == name.kind, _REFERENCES.identifier == name.identifier)
