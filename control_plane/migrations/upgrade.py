"""Runs the steps that a database lacks, on the connection and in the transaction of the caller. Loaded by `schema.py`, only when there is something to do."""

from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

BASE = "base"
"""Alembic's name for a database without anything."""

FOLDER = Path(__file__).resolve().parent


def upgrade(connection: Connection, revision: str, target: str) -> None:
    """From `revision`, which the database is of although it may not say so, to `target`."""
    script = ScriptDirectory(str(FOLDER))

    def steps(_revision: object, _context: MigrationContext) -> list[RevisionStep]:
        return script._upgrade_revs(target, revision)  # what alembic.command.upgrade does; it has no public name

    with EnvironmentContext(Config(), script, fn=steps, destination_rev=target) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        _stamp(environment.get_context(), script, connection, revision)
        environment.run_migrations()


def _stamp(context: MigrationContext, script: ScriptDirectory, connection: Connection, revision: str) -> None:
    """Have Alembic know where it starts: before it looks, since it goes on from what it has seen. There is one line of revisions, and so one row."""
    heads = context.get_current_heads()
    if revision != BASE and heads != (revision,):
        if heads:
            connection.execute(sa.table("alembic_version").delete())
        context.stamp(script, revision)
