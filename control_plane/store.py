"""Documents and the change log, committed together: DESIGN section 3. Resources are in `resource_rows.py`, the registry of nodes and the receipts in `ledger.py`, over
the same database.

Synchronised at each commit: what a caller was told is there after kill -9. Several processes share the database, so the head index that a process knows is what it has
read so far (`catch_up`); where an index is handed out, it is read under the lock of the log, which is held until the commit.
"""

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError, ProgrammingError

from control_plane import schema, tables
from control_plane.change_log import (
    READ_ENTRIES,
    CommittedEntry,
    Subscriber,
    issued_invalidation,
    to_entry,
)
from control_plane.clock_columns import time_on, write_clock
from control_plane.database import DATABASE_NAME, Database, SqliteDatabase
from control_plane.invalidation_rows import SqlInvalidations
from control_plane.log_rows import (
    LOG_ID,
    SETTLED_INDEX,
    begin_history,
    read_committed,
    read_documents,
    read_head,
    read_log_id,
    read_oldest_index,
)
from control_plane.nodes import NOTHING_ACKNOWLEDGED
from control_plane.resource_rows import SqlResources, read_resources
from control_plane.state import Change, Document, Invalidate, StoreError
from control_plane.trouble import LogGapError, StoreObserver, Trouble
from proto.cdn.v1 import sync_pb2
from proto.moments import SECONDS_SINCE_EPOCH, ClockAnchor
from proto.resources import ResourceName

RETAINED_ENTRIES = 10_000
"""A node further behind gets a snapshot, which costs it its cache."""

COPY_MARK = "is_copy"
"""Of a database that `backup.py` has made: as long as nobody has opened it, it is a copy of what was once, and goes on as another log."""

LOCKED_MILLISECONDS = 250
"""How long a write waits for somebody else's lock on the file, once the control plane runs: all nodes wait with it."""

WriteFence = Callable[[Connection], None]
"""Called in a transaction that writes; fails it where it is not this control plane's turn to write."""

_FAILURES = (DatabaseError, InterfaceError)
_MISTAKES = (DataError, IntegrityError, ProgrammingError)
"""Errors of the database that say something of the statement, and nothing of the disk."""

_logger = logging.getLogger("control-plane")


class SqlTransaction:
    """See state.Transaction."""

    def __init__(self, store: "SqlStore", connection: Connection) -> None:
        self._database = store.database
        self._connection = connection
        self._log_id = store.log_id
        self._clock, self._anchor = store.clock, store.anchor
        self._resources = SqlResources(connection)
        self.invalidations = SqlInvalidations(connection)
        """See state.Transaction."""
        self.appended: list[sync_pb2.Entry] = []

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
        row = {"kind": document.kind, "identifier": document.identifier, "body": body}
        self._database.put(self._connection, tables.documents, ("kind", "identifier"), [row])

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
        self.appended.append(entry)
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
    """The newest index that subscribers have been told of."""
    is_new: bool
    """The log was made by this process: nobody was told of it before."""
    is_copy: bool
    """It has been restored from a backup: `become_another_log` has to be called before anything is told to anybody."""

    def __init__(
        self,
        place: Path | Database,
        clock: Callable[[], float],
        *,
        retained_entries: int = RETAINED_ENTRIES,
        busy_milliseconds: int = LOCKED_MILLISECONDS,
        observer: StoreObserver | None = None,
        anchor: ClockAnchor = SECONDS_SINCE_EPOCH,
    ) -> None:
        """`anchor` is the clock's. `place` is a folder, for SQLite, or a database; either is closed by `close`. StoreError when it cannot be used."""
        self.database = _open_folder(place) if isinstance(place, Path) else place
        self.engine, self.reader = self.database.engine, self.database.reader
        try:
            self._open_log()
            self.database.has_opened(busy_milliseconds)
        except _FAILURES as error:
            raise StoreError(f"cannot use the database {self.database.name}: {error.orig}") from error
        except StoreError as error:
            raise StoreError(f"cannot use the database {self.database.name}: it {error}") from error
        self.clock = clock
        self.anchor = anchor
        """Of the clock that times are written down by."""
        self._observer = observer or StoreObserver()
        self.trouble: Trouble | None = None
        """Set from the first write that fails until `try_to_write` finds that the database takes writes again."""
        self._retained_entries = retained_entries
        self._subscribers: list[Subscriber] = []
        self._is_in_transaction = False

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    @property
    def has_one_writer(self) -> bool:
        """See state.Store."""
        return self.database.has_one_writer

    @contextmanager
    def transaction(self, fence: WriteFence | None = None) -> Iterator[SqlTransaction]:
        """See state.Store. Subscribers are told after the commit, in the order of the log. `fence` fails it where it is not this control plane's turn to write."""
        if self._is_in_transaction:
            raise RuntimeError("a transaction is open already: close it before anything else is awaited or called")
        self._is_in_transaction = True
        try:
            with self.writing() as connection:
                self.database.lock_log(connection)
                self.log_id = read_log_id(connection)  # another process may have made it another one
                if fence is not None:
                    fence(connection)
                transaction = SqlTransaction(self, connection)
                yield transaction
                if transaction.appended:
                    self._trim(connection, transaction.appended[-1].index)
                    self.database.announce(connection)
        finally:
            self._is_in_transaction = False
        if transaction.appended:
            self._observer.committed()
            if self._subscribers:
                self.catch_up()
            else:
                self.head_index = transaction.appended[-1].index

    @contextmanager
    def view(self) -> Iterator[SqlTransaction]:
        """See state.Store."""
        with self.reading() as connection:
            self.database.begin_view(connection)
            yield SqlTransaction(self, connection)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Rows that are on the disk, all together, when the block ends. StoreError when the disk does not take them."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except _MISTAKES:
            raise
        except _FAILURES as error:
            reason = f"cannot write to the database {self.database.name}: {error.orig}"
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
        except _FAILURES as error:
            raise StoreError(f"cannot read the database {self.database.name}: {error.orig}") from error

    def try_to_write(self) -> None:
        """Write something that means nothing, to see whether the database takes it. A transaction that only reads succeeds on a full disk too, so it shows nothing."""
        with suppress(StoreError):
            with self.writing() as connection:
                row = {"key": "last_probe", "value": str(self.clock())}
                self.database.put(connection, tables.meta, ("key",), [row])
            if self.trouble is not None:
                _logger.warning("the database takes writes again after %.1f s", self.clock() - self.trouble.since)
            self.trouble = None

    def _failed(self, reason: str) -> None:
        if self.trouble is None:
            self._observer.failed(reason)
        self.trouble = Trouble(reason, self.clock() if self.trouble is None else self.trouble.since)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have `subscriber` called for each entry after its commit."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """It is told of nothing more."""
        self._subscribers.remove(subscriber)

    def catch_up(self) -> None:
        """Tell subscribers of what has been committed since the last time, by whomever. StoreError when it cannot be read; LogGapError."""
        is_whole = False
        while not is_whole:
            committed = self._committed_after(self.head_index)
            is_whole = len(committed) < READ_ENTRIES  # what is committed from now on is told of again
            if committed and committed[0].entry.index != self.head_index + 1:
                raise LogGapError
            now = self.clock()
            self.head_index = committed[-1].entry.index if committed else self.head_index
            for each in committed:
                for subscriber in self._subscribers:
                    subscriber(each, now)

    def _committed_after(self, index: int) -> Sequence[CommittedEntry]:
        with self.reading() as connection:
            return read_committed(connection, self.anchor, index, READ_ENTRIES)

    def start_at_head(self) -> None:
        """Begin with what is committed now: nobody is told of it any more."""
        with self.reading() as connection:
            self.log_id = read_log_id(connection)
            self.is_copy = _is_marked(connection)  # another process may have made it another log
            self.head_index = read_head(connection, self.log_id).index

    def time_of(self, seconds: float, clock_column: str | None) -> float:
        """A time of a row, on this process's clock."""
        return time_on(self.anchor, self.clock(), seconds, clock_column)

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
        with self.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def snapshot(self) -> sync_pb2.Snapshot:
        """See change_log.Log."""
        with self.reading() as connection:
            self.database.begin_view(connection)
            head = read_head(connection, self.log_id)
            resources = read_resources(connection)
        return sync_pb2.Snapshot(log_id=head.log_id, index=head.index, digest=head.digest, resources=resources)

    @property
    def oldest_index(self) -> int:
        """Of the oldest entry that is retained."""
        with self.reading() as connection:
            return read_oldest_index(connection) or self.head_index + 1

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

        The leases that were granted since the copy was made are not in it: the caller has waited until they must be over. Whoever comes second does nothing: the log is
        another one by then, and there may be leases again.
        """
        log_id, nodes = uuid.uuid4().hex, tables.nodes
        with self.writing() as connection:
            self.is_copy = False
            if not connection.execute(delete(tables.meta).where(tables.meta.c.key == COPY_MARK)).rowcount:
                return
            connection.execute(update(tables.meta).where(tables.meta.c.key == LOG_ID).values(value=log_id))
            connection.execute(delete(tables.meta).where(tables.meta.c.key == SETTLED_INDEX))
            now, clock = self.clock(), write_clock(self.anchor)
            was_live = update(nodes).where(nodes.c.lease_seconds > 0)
            connection.execute(was_live.values(unleased_since=now, last_seen=now, clock=clock))  # of one clock
            connection.execute(update(nodes).values(acknowledged_index=NOTHING_ACKNOWLEDGED, lease_seconds=0.0))
        self.log_id, self.is_copy = log_id, False

    def _open_log(self) -> None:
        with self.engine.begin() as connection:
            self.database.lock_log(connection)
            schema.prepare(connection, self.database)
            self.log_id, self.is_new = self._identity(connection)
            self.is_copy = _is_marked(connection)
            begin_history(connection)
            self.head_index = read_head(connection, self.log_id).index

    def _identity(self, connection: Connection) -> tuple[str, bool]:
        """The log's, made with the database; and whether that was now."""
        row = {"key": LOG_ID, "value": uuid.uuid4().hex}
        is_new = self.database.put_if_missing(connection, tables.meta, row)
        return read_log_id(connection), is_new

    def _trim(self, connection: Connection, head_index: int) -> None:
        """Forget the oldest entries, a tenth of what is retained at a time. What they configured stays in `resources`."""
        oldest_index = read_oldest_index(connection)
        if oldest_index is None or head_index - oldest_index < self._retained_entries * 11 // 10:
            return
        oldest_index = head_index - self._retained_entries + 1
        connection.execute(delete(tables.log).where(tables.log.c.index < oldest_index))
        connection.execute(delete(tables.digests).where(tables.digests.c.index < oldest_index - 1))


def _is_marked(connection: Connection) -> bool:
    marked = select(tables.meta.c.key).where(tables.meta.c.key == COPY_MARK)
    return connection.execute(marked).scalar_one_or_none() is not None


def _open_folder(folder: Path) -> Database:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot use the folder {folder}: {error.strerror}") from error
    return SqliteDatabase(folder / DATABASE_NAME)
