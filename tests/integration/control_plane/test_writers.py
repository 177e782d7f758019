"""Several processes append to one log at the same time: the order of commits is the order of indexes, so that whoever reads what follows an index has missed nothing."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from control_plane.change_log import EMPTY_HISTORY, next_digest
from control_plane.database import open_database
from control_plane.store import SqlStore
from proto.cdn.v1 import sync_pb2

pytest_plugins = ("tests.postgres",)

WRITERS = 4
TRANSACTIONS = 40
WRITER = """
import random, sys, time
from pathlib import Path
from control_plane.database import open_database
from control_plane.resource_kinds import put_distribution
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2
folder, address, name, count = sys.argv[1:]
store = SqlStore(open_database(Path(folder), address or None, 30.0), time.time, busy_milliseconds=30_000)
rng = random.Random(name)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    with store.transaction() as transaction:
        for part in range(rng.randint(1, 3)):
            transaction.append(put_distribution(configuration_pb2.Distribution(id=f"{name}-{number}-{part}")))
        time.sleep(rng.choice((0, 0, 0.002)))  # between the index and the commit, where others would overtake
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_order_of_commits_is_the_order_of_indexes(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    address = request.getfixturevalue("postgres_address") if kind == "postgresql" else None
    told: list[sync_pb2.Entry] = []
    with contextlib.closing(SqlStore(open_database(tmp_path, address, 30.0), time.time)) as store:
        store.subscribe(lambda committed, _now: told.append(committed.entry))
        writers = [start(tmp_path, address, f"writer-{number}") for number in range(WRITERS)]
        try:
            for writer in writers:
                assert writer.stdin is not None
                writer.stdin.write(b"go\n")
                writer.stdin.flush()
            while any(writer.poll() is None for writer in writers):
                store.catch_up()  # raises when it meets a gap
            assert [writer.returncode for writer in writers] == [0] * WRITERS
        finally:
            for writer in writers:
                end(writer)
        store.catch_up()
        assert [entry.index for entry in told] == list(range(1, len(told) + 1))
        assert len({entry.changes[0].put.id.rpartition("-")[0] for entry in told}) == WRITERS * TRANSACTIONS
        check_history(told)
        assert len(store.snapshot().resources) == len(told)


def check_history(entries: list[sync_pb2.Entry]) -> None:
    """Each was made with the one before in sight."""
    digest = EMPTY_HISTORY
    for entry in entries:
        bare = sync_pb2.Entry()
        bare.CopyFrom(entry)
        bare.ClearField("digest")
        digest = next_digest(digest, bare.SerializeToString())
        assert entry.digest == digest


def start(folder: Path, address: str | None, name: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WRITER, str(folder), address or "", name, str(TRANSACTIONS)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    return writer


def end(writer: "subprocess.Popen[bytes]") -> None:
    writer.kill()
    writer.wait()
    for pipe in (writer.stdin, writer.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
