"""Fixtures of a real PostgreSQL (`postgres_server.py`): one server for each test process, a database for each test."""

import os
from collections.abc import Iterator

import pytest

from tests.postgres_server import Server, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this test process."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    with running_server(f"127.11.{number}.9", 25_432) as server:
        yield server


@pytest.fixture
def postgres_address(postgres: Server) -> Iterator[str]:
    """An empty database."""
    address = postgres.create()
    yield address
    postgres.drop(address)
