"""Runs the steps that a database lacks, on the connection and in the transaction of the caller. Loaded by `schema.py`, only when there is something to do."""

from pathlib import Path

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

    def steps(_revision: object, context: MigrationContext) -> list[RevisionStep]:
        if revision != BASE and context.get_current_revision() != revision:
            context.stamp(script, revision)
        return script._upgrade_revs(target, revision)  # what alembic.command.upgrade does; it has no public name

    with EnvironmentContext(Config(), script, fn=steps, destination_rev=target) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
