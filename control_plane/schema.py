"""Versions of the database: what it is brought up to date from, and what is refused. What the tables are now is in `tables.py`; the steps are Alembic's, in
`migrations/`.

An empty database gets today's tables at once, and one that is up to date is only looked at; neither needs Alembic, which takes a tenth of a second to load. All steps
that
a database lacks are one transaction: a control plane that is killed meanwhile finds the old database.
"""

import importlib
from typing import Final

from sqlalchemy import Connection, func, inspect, select

from control_plane import tables
from control_plane.database import Database
from control_plane.state import StoreError

HEAD: Final = "0006"
"""The revision of `tables.py`."""
KNOWN: Final = ("0001", "0002", "0003", "0004", "0005", HEAD)

VERSION: Final = 6
"""The number beside the tables, which stands for `HEAD`: programs that do not know of revisions read it and leave the database alone."""

_UPGRADE = "control_plane.migrations.upgrade"


def prepare(connection: Connection, database: Database) -> None:
    """Create the tables of an empty database, or bring those of an older version up to date. StoreError when it is of a newer one. Nothing is written when nothing
    is to be done, so that a control plane starts on a full disk."""
    revision = _revision_of(connection, database)
    if revision == HEAD:
        return
    if revision is None:
        tables.metadata.create_all(connection)
        connection.execute(tables.versions.insert().values(version_num=HEAD))
    else:
        importlib.import_module(_UPGRADE).upgrade(connection, revision, HEAD)
    database.set_version(connection, VERSION)


def _revision_of(connection: Connection, database: Database) -> str | None:
    """None of an empty database."""
    found = inspect(connection)
    if not found.has_table(tables.meta.name):
        return None
    version = database.version(connection)
    if version > VERSION:
        raise StoreError(f"is of version {version}, and this control plane knows none after {VERSION}")
    if not found.has_table(tables.versions.name):
        return KNOWN[max(1, version) - 1]  # before there were versions, and before there were revisions
    # The newest: upgrades once left the row of the old revision beside that of the new one.
    revision: str = connection.execute(select(func.max(tables.versions.c.version_num))).scalar_one()
    if revision not in KNOWN:
        raise StoreError(f"is of revision {revision}, and this control plane knows none after {HEAD}")
    return revision
