"""Documents and the change log, committed together: DESIGN section 3. Resources are in `resource_rows.py`, the registry of nodes and the receipts in `ledger.py`, over
the same database.

SQLite with a write-ahead log, synchronised at each commit: what a caller was told is there after kill -9. One process owns the database; its head index is therefore
known without asking, and still read under the write lock where an index is handed out.
"""

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, ProgrammingError

from control_plane import schema, tables
from control_plane.change_log import EMPTY_HISTORY, Subscriber, issued_invalidation, to_entry
from control_plane.clock_columns import time_on, write_clock
from control_plane.invalidation_rows import SqlInvalidations
from control_plane.nodes import NOTHING_ACKNOWLEDGED
from control_plane.resource_rows import SqlResources, read_resources
from control_plane.state import Change, Document, Invalidate, StoreError
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.moments import SECONDS_SINCE_EPOCH, ClockAnchor
from proto.resources import ResourceName

RETAINED_ENTRIES = 10_000
"""A node further behind gets a snapshot, which costs it its cache."""

DATABASE_NAME = "control-plane.sqlite3"

COPY_MARK = "is_copy"
"""Of a database that `backup.py` has made: as long as nobody has opened it, it is a copy of what was once, and goes on as another log."""

_LOG_ID = "log_id"

LOCKED_MILLISECONDS = 250
"""How long a write waits for somebody else's lock on the file, once the control plane runs: all nodes wait with it."""

_MISTAKES = (DataError, IntegrityError, ProgrammingError)
"""Errors of the database that say something of the statement, and nothing of the disk."""

_logger = logging.getLogger("control-plane")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the database takes no writes, and since when (seconds of the process's clock)."""

    reason: str
    since: float


class SqlTransaction:
    """See state.Transaction."""

    def __init__(self, connection: Connection, log_id: str, clock: Callable[[], float], anchor: ClockAnchor) -> None:
        self._connection = connection
        self._log_id = log_id
        self._clock = clock
        self._anchor = anchor
        self._resources = SqlResources(connection)
        self.invalidations = SqlInvalidations(connection)
        """See state.Transaction."""
        self.appended: list[tuple[sync_pb2.Entry, float]] = []

    def get(self, kind: str, identifier: str) -> Document | None:
        """See state.Transaction."""
        documents = tables.documents.c
        query = select(documents.body).where(documents.kind == kind, documents.identifier == identifier)
        body = self._connection.execute(query).scalar_one_or_none()
        return None if body is None else Document(kind, identifier, json.loads(body))

    def list(self, kind: str) -> Sequence[Document]:
        """See state.Transaction."""
        return read_documents(self._connection, kind)

    def put(self, document: Document) -> None:
        """See state.Transaction. A replaced document keeps its place in the order."""
        body = json.dumps(document.body, separators=(",", ":"))
        statement = sqlite_insert(tables.documents).values(
            kind=document.kind, identifier=document.identifier, body=body
        )
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["kind", "identifier"], set_={"body": body})
        )

    def delete(self, kind: str, identifier: str) -> None:
        """See state.Transaction."""
        documents = tables.documents.c
        statement = delete(tables.documents).where(documents.kind == kind, documents.identifier == identifier)
        self._connection.execute(statement)

    def append(self, *changes: Change) -> int:
        """See state.Transaction."""
        now = self._clock()
        entry = to_entry(changes, read_head(self._connection, self._log_id), self._anchor.wall_seconds(now))
        index = entry.index
        self._connection.execute(insert(tables.log).values(index=index, entry=entry.SerializeToString()))
        self._connection.execute(insert(tables.digests).values(index=index, digest=entry.digest))
        self._resources.change([change for change in changes if not isinstance(change, Invalidate)], index)
        invalidation = issued_invalidation(entry, now)
        if invalidation is not None:
            row = insert(tables.receipts).values(
                index=index,
                invalidation_id=invalidation.identifier,
                distribution_id=invalidation.distribution_id,
                paths=json.dumps(invalidation.paths),
                issued_at=now,
                issued_clock=write_clock(self._anchor),
            )
            self._connection.execute(row)
        self.appended.append((entry, now))
        return index

    def published(self, name: ResourceName) -> bytes | None:
        """See state.Transaction."""
        return self._resources.body(name)

    def references_of(self, name: ResourceName) -> Sequence[ResourceName]:
        """See state.Transaction."""
        return self._resources.references_of(name)

    def referring_to(self, name: ResourceName) -> Sequence[ResourceName]:
        """See state.Transaction."""
        return self._resources.referring_to(name)


class SqlStore:
    """See state.Store; and the log for those who send it to nodes."""

    log_id: str
    head_index: int
    oldest_index: int
    is_new: bool
    """The log was made by this process: nobody was told of it before."""
    is_copy: bool
    """It has been restored from a backup: `become_another_log` has to be called before anything is told to anybody."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float],
        *,
        retained_entries: int = RETAINED_ENTRIES,
        anchor: ClockAnchor = SECONDS_SINCE_EPOCH,
    ) -> None:
        """`anchor`: of the clock."""
        self._path = path = folder / DATABASE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.engine = tables.open_engine(path)
            self.reader = tables.open_reader(path)
            self._open_log()
            with self.engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCKED_MILLISECONDS}")
        except OSError as error:
            raise StoreError(f"cannot use the folder {folder}: {error.strerror}") from error
        except DatabaseError as error:
            raise StoreError(f"cannot use the database {path}: {error.orig}") from error
        except StoreError as error:
            raise StoreError(f"cannot use the database {path}: it {error}") from error
        self._clock = clock
        self.anchor = anchor
        """Of the clock that times are written down by."""
        self.trouble: Trouble | None = None
        """Set from the first write that fails until `try_to_write` finds that the database takes writes again."""
        self._retained_entries = retained_entries
        self._subscribers: list[Subscriber] = []
        self._is_in_transaction = False

    def close(self) -> None:
        """Let go of the database file."""
        self.engine.dispose()
        self.reader.dispose()

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """See state.Store. Subscribers are told after the commit, in the order of the log."""
        if self._is_in_transaction:
            raise RuntimeError("a transaction is open already: close it before anything else is awaited or called")
        self._is_in_transaction = True
        try:
            with self.writing() as connection:
                transaction = SqlTransaction(connection, self.log_id, self._clock, self.anchor)
                yield transaction
                head_index = self.head_index + len(transaction.appended)
                oldest_index = self._trimmed(connection, head_index)
        finally:
            self._is_in_transaction = False
        self.head_index, self.oldest_index = head_index, oldest_index
        for entry, now in transaction.appended:
            for subscriber in self._subscribers:
                subscriber(entry, now)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Rows that are on the disk, all together, when the block ends. StoreError when the disk does not take them."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except _MISTAKES:
            raise
        except DatabaseError as error:
            reason = f"cannot write to the database {self._path}: {error.orig}"
            self._failed(reason)
            raise StoreError(reason) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """What is committed, also while a transaction is open. StoreError when it cannot be read."""
        try:
            with self.reader.connect() as connection:
                yield connection
        except _MISTAKES:
            raise
        except DatabaseError as error:
            raise StoreError(f"cannot read the database {self._path}: {error.orig}") from error

    def try_to_write(self) -> None:
        """Write something that means nothing, to see whether the database takes it. A transaction that only reads succeeds on a full disk too, so it shows nothing."""
        probe = sqlite_insert(tables.meta).values(key="last_probe", value=str(self._clock()))
        with suppress(StoreError):
            with self.writing() as connection:
                replaced = {"value": probe.excluded.value}
                connection.execute(probe.on_conflict_do_update(index_elements=["key"], set_=replaced))
            if self.trouble is not None:
                _logger.warning("the database takes writes again after %.1f s", self._clock() - self.trouble.since)
            self.trouble = None

    def _failed(self, reason: str) -> None:
        if self.trouble is None:
            _logger.error("%s; until it takes writes, no first lease is granted and no receipt completed", reason)
        self.trouble = Trouble(reason, self._clock() if self.trouble is None else self.trouble.since)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have `subscriber` called for each entry after its commit."""
        self._subscribers.append(subscriber)

    def time_of(self, seconds: float, clock_column: str | None) -> float:
        """A time of a row, on this process's clock."""
        return time_on(self.anchor, self._clock(), seconds, clock_column)

    # The log

    def entries_after(self, index: int, limit: int) -> Sequence[sync_pb2.Entry]:
        """See change_log.Log."""
        query = select(tables.log.c.entry).where(tables.log.c.index > index).order_by(tables.log.c.index).limit(limit)
        with self.reading() as connection:
            return [sync_pb2.Entry.FromString(data) for data in connection.execute(query).scalars()]

    def digest_at(self, index: int) -> bytes | None:
        """See unsaved.Ledger."""
        if index > self.head_index:
            return None  # and may be more than a column holds
        query = select(tables.digests.c.digest).where(tables.digests.c.index == index)
        with self.reader.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def snapshot(self) -> sync_pb2.Snapshot:
        """See change_log.Log."""
        with self.reading() as connection:
            head = read_head(connection, self.log_id)
            resources = read_resources(connection)
        return sync_pb2.Snapshot(log_id=head.log_id, index=head.index, digest=head.digest, resources=resources)

    def published(self, name: ResourceName) -> bytes | None:
        """What the log amounts to, of one resource."""
        with self.reading() as connection:
            return SqlResources(connection).body(name)

    def references_of(self, name: ResourceName) -> Sequence[ResourceName]:
        """What a published resource refers to."""
        with self.reading() as connection:
            return SqlResources(connection).references_of(name)

    def documents(self, kind: str) -> Sequence[Document]:
        """What is committed of one kind, oldest first."""
        with self.reading() as connection:
            return read_documents(connection, kind)

    def become_another_log(self) -> None:
        """Of a copy: nothing that nodes have applied, acknowledged or stored counts here, and none of them holds a lease (DESIGN section 4, rule 9).

        The leases that were granted since the copy was made are not in it: the caller has waited until they must be over.
        """
        log_id, nodes = uuid.uuid4().hex, tables.nodes
        with self.writing() as connection:
            connection.execute(update(tables.meta).where(tables.meta.c.key == _LOG_ID).values(value=log_id))
            connection.execute(delete(tables.meta).where(tables.meta.c.key == COPY_MARK))
            now, clock = self._clock(), write_clock(self.anchor)
            was_live = update(nodes).where(nodes.c.lease_seconds > 0)
            connection.execute(was_live.values(unleased_since=now, last_seen=now, clock=clock))  # of one clock
            connection.execute(update(nodes).values(acknowledged_index=NOTHING_ACKNOWLEDGED, lease_seconds=0.0))
        self.log_id, self.is_copy = log_id, False

    def _open_log(self) -> None:
        with self.engine.begin() as connection:
            schema.prepare(connection)
            self.log_id, self.is_new = _identity(connection)
            marked = select(tables.meta.c.key).where(tables.meta.c.key == COPY_MARK)
            self.is_copy = connection.execute(marked).scalar_one_or_none() is not None
            # Nodes that stand elsewhere than where the history begins get a snapshot.
            oldest, newest = connection.execute(
                select(func.min(tables.log.c.index), func.max(tables.log.c.index))
            ).one()
            if not connection.execute(select(func.count()).select_from(tables.digests)).scalar_one():
                connection.execute(insert(tables.digests).values(index=newest or 0, digest=EMPTY_HISTORY))
            self.head_index = read_head(connection, self.log_id).index
            self.oldest_index = self.head_index + 1 if oldest is None else oldest

    def _trimmed(self, connection: Connection, head_index: int) -> int:
        """Forget the oldest entries, a tenth of what is retained at a time: the oldest that is left. What they configured stays in `resources`."""
        if head_index - self.oldest_index < self._retained_entries * 11 // 10:
            return self.oldest_index
        oldest_index = head_index - self._retained_entries + 1
        connection.execute(delete(tables.log).where(tables.log.c.index < oldest_index))
        connection.execute(delete(tables.digests).where(tables.digests.c.index < oldest_index - 1))
        return oldest_index


def _identity(connection: Connection) -> tuple[str, bool]:
    """The log's, made with the database; and whether that was now."""
    fresh = sqlite_insert(tables.meta).values(key=_LOG_ID, value=uuid.uuid4().hex)
    is_new = connection.execute(fresh.on_conflict_do_nothing()).rowcount == 1
    identity: str = connection.execute(select(tables.meta.c.value).where(tables.meta.c.key == _LOG_ID)).scalar_one()
    return identity, is_new


def read_documents(connection: Connection, kind: str) -> Sequence[Document]:
    """Documents of one kind, in the order in which they were created."""
    documents = tables.documents.c
    query = select(documents.identifier, documents.body).where(documents.kind == kind).order_by(documents.sequence)
    return [Document(kind, identifier, json.loads(body)) for identifier, body in connection.execute(query)]


def read_head(connection: Connection, log_id: str) -> LogPosition:
    """Where the log ends; there is a digest for it from the beginning."""
    digests = tables.digests.c
    newest = select(func.max(digests.index)).scalar_subquery()
    index, digest = connection.execute(select(digests.index, digests.digest).where(digests.index == newest)).one()
    return LogPosition(log_id, index, digest)
