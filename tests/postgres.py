"""Fixtures of a real PostgreSQL (`benchmarks/postgres_server.py`): one server for each test process, a database for each test. Without one such tests are skipped."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.postgres_server import NOT_DURABLE, NoPostgresError, Server, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this test process."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    with ExitStack() as running:
        try:
            server = running.enter_context(running_server(f"127.11.{number}.9", 25_432, NOT_DURABLE))
        except NoPostgresError as error:
            pytest.skip(str(error))
        yield server


@pytest.fixture
def postgres_address(postgres: Server) -> Iterator[str]:
    """An empty database."""
    address = postgres.create()
    yield address
    postgres.drop(address)
