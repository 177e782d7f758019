"""The disk store in processes of its own that are ended by kill -9 at any moment, that meet a full disk, or that want the same folder.

The process that is killed does a workload which is known beforehand, and says through a pipe how far it is; what it leaves is then judged here.
"""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_node.storage.disk.disk_budget import SMALLEST_CAPACITY_BYTES
from edge_node.storage.disk.errors import DiskCorruptionError
from edge_node.storage.disk.store import DiskStore

ROOT = Path(__file__).resolve().parents[4]
CAPACITY = SMALLEST_CAPACITY_BYTES
BOOT = "boot"
SIZES = (20, 900, 6_000, 40_000, 400_000)
KEYS = 60
KILLS = 12
DEADLINE_SECONDS = 30


class Step(NamedTuple):
    """Of the workload: put or (None) remove."""

    key: bytes
    body: bytes | None
    is_flushed: bool


def workload(seed: int) -> Iterator[Step]:
    """The same for the process that does it and for the one that judges."""
    rng, number = random.Random(seed), 0
    while True:
        number += 1
        key = b"key %d" % rng.randrange(KEYS)
        length = rng.choice(SIZES)
        body = None if rng.random() < 0.25 else (b"%d.%d " % (seed, number) * (length // 4 + 1))[:length]
        yield Step(key, body, rng.random() < 0.1)


def work(folder: Path, seed: int) -> None:
    """Until killed: a line before each step and a line after it."""
    store = DiskStore(folder, CAPACITY, BOOT)
    for step in workload(seed):
        os.write(1, b"<")
        if step.body is None:
            store.remove(step.key)
        else:
            writer = store.open_writer(step.key, None)
            if writer is not None and writer.write(step.body):
                writer.commit(b"metadata", 1)
            store.lookup(step.key)
        if step.is_flushed:
            store.flush()
        os.write(1, b">")


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.edge_node.storage.test_disk_crashes", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)


def run_until_killed(folder: Path, seed: int, after_bytes: int) -> tuple[int, bool]:
    """How many steps were finished, and whether one was under way."""
    process = start("work", folder, seed)
    assert process.stdout is not None
    try:
        said = b""
        while len(said) < after_bytes and (more := process.stdout.read(after_bytes - len(said))):
            said += more
    finally:
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate(timeout=DEADLINE_SECONDS)
    said += rest
    assert len(said) >= after_bytes, errors.decode()
    return said.count(b">"), said.endswith(b"<")


def body_in(store: DiskStore, key: bytes) -> bytes | None:
    record = store.lookup(key)
    return None if record is None else b"".join(record.body.chunks())


@pytest.mark.slow
def test_kill_9_at_any_moment_brings_nothing_old_back_and_no_wrong_byte(tmp_path: Path) -> None:
    rng = random.Random(3)
    may_be: dict[bytes, set[bytes | None]] = {}
    recovered = 0
    for seed in range(KILLS):
        done, is_under_way = run_until_killed(tmp_path / "disk", seed, rng.randrange(2, 1_500))
        steps = workload(seed)
        for _ in range(done):
            step = next(steps)
            may_be[step.key] = {step.body, None}
        if is_under_way:
            step = next(steps)
            may_be.setdefault(step.key, {None}).add(step.body)
        with contextlib.closing(DiskStore(tmp_path / "disk", CAPACITY, BOOT)) as store:
            recovered += store.statistics.recovered_records
            assert {summary.key for summary in store.records()} <= may_be.keys()
            for key, bodies in may_be.items():
                body = body_in(store, key)
                assert body in bodies, f"kill {seed}: {key!r} is {body and body[:20]!r}"
                bodies.clear()
                bodies.update({body, None})  # the next process may evict it
            assert store.statistics.used_bytes <= CAPACITY
    assert recovered > 10 * KILLS


def test_what_was_flushed_survives_kill_9(tmp_path: Path) -> None:
    process = start("fill", tmp_path / "disk")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"flushed\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=DEADLINE_SECONDS)
    with contextlib.closing(DiskStore(tmp_path / "disk", CAPACITY, BOOT)) as store:
        assert store.statistics.recovered_records == 101
        assert all(body_in(store, b"%d" % number) == b"%d" % number * 100 for number in range(100))
        assert body_in(store, b"large") == b"large" * 100_000
        assert body_in(store, b"unfinished") is None
        assert store.statistics.corrupt_records == 0
    assert not any((tmp_path / "disk" / "arriving").iterdir())


def fill(folder: Path) -> None:
    """Records, an unfinished body, and then nothing until killed."""
    store = DiskStore(folder, CAPACITY, BOOT)
    bodies = {b"%d" % number: b"%d" % number * 100 for number in range(100)} | {b"large": b"large" * 100_000}
    for key, body in bodies.items():
        writer = store.open_writer(key, None)
        assert writer is not None and writer.write(body) and writer.commit(b"", 1)
    unfinished = store.open_writer(b"unfinished", None)
    assert unfinished is not None and unfinished.write(bytes(500_000))
    store.flush()
    os.write(1, b"flushed\n")
    signal.pause()


def test_the_folder_of_a_running_process_is_refused(tmp_path: Path) -> None:
    owner = start("fill", tmp_path / "disk")
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline() == b"flushed\n"
        other = start("fill", tmp_path / "disk")
        _, errors = other.communicate(timeout=DEADLINE_SECONDS)
        assert other.returncode != 0 and b"is in use by another process" in errors
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate(timeout=DEADLINE_SECONDS)
    DiskStore(tmp_path / "disk", CAPACITY, BOOT).close()


def meet_a_limit(folder: Path) -> None:
    """No file may be larger than 100,000 bytes: each larger body fails in its middle, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    put_until_full(DiskStore(folder, CAPACITY, BOOT))


def put_until_full(store: DiskStore) -> None:
    """Says what it put, and how many writes failed."""
    for number in range(40):
        key = b"%d" % number
        writer = store.open_writer(key, None)
        body = key * (300_000 if number % 2 else 2_000)
        is_stored = writer is not None and writer.write(body) and writer.commit(b"", 1)
        store.flush()
        assert body_in(store, key) == (body if is_stored else None)
        if store.lookup(key) is not None:
            os.write(1, key + b"\n")
    assert store.statistics.write_errors >= 1
    os.write(1, b"done\n")


def judge_what_was_put(folder: Path, process: subprocess.Popen[bytes]) -> list[bytes]:
    said, errors = process.communicate(timeout=DEADLINE_SECONDS)
    *kept, last = said.split()
    assert last == b"done", errors.decode()
    with contextlib.closing(DiskStore(folder, CAPACITY, BOOT)) as store:
        for number in range(40):
            key = b"%d" % number
            body = key * (300_000 if number % 2 else 2_000)
            assert body_in(store, key) == (body if key in kept else None)
        assert store.statistics.corrupt_records == 0
    return kept


def test_a_limit_on_file_sizes_costs_the_bodies_that_meet_it(tmp_path: Path) -> None:
    kept = judge_what_was_put(tmp_path / "disk", start("meet_a_limit", tmp_path / "disk"))
    assert kept == [b"%d" % number for number in range(0, 40, 2)]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB; skipped where this user may not mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_costs_what_was_being_written(tiny_disk: Path) -> None:
    kept = judge_what_was_put(tiny_disk / "disk", start("meet_a_full_disk", tiny_disk / "disk"))
    assert 1 <= len(kept) < 40


def meet_a_full_disk(folder: Path) -> None:
    """The disk is smaller than the capacity."""
    put_until_full(DiskStore(folder, CAPACITY, BOOT))


def test_a_file_that_is_cut_under_a_running_process_does_not_end_it(tmp_path: Path) -> None:
    process = start("read_what_is_cut", tmp_path / "disk")
    said, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, said) == (0, b"damage was noticed\n"), errors.decode()


def read_what_is_cut(folder: Path) -> None:
    """Half of a body is read, then its file is cut by somebody else."""
    with contextlib.closing(DiskStore(folder, CAPACITY, BOOT)) as store:
        writer = store.open_writer(b"a", None)
        assert writer is not None and writer.write(b"x" * 1_000_000) and writer.commit(b"", 1)
        record = store.lookup(b"a")
        assert record is not None
        pieces = record.body.chunks()
        first = next(pieces)
        os.truncate(next((folder / "records").iterdir()), 10)
        assert bytes(first) == b"x" * len(first)
        try:
            next(pieces)
        except DiskCorruptionError:
            os.write(1, b"damage was noticed\n")


def main() -> None:
    """What the tests start."""
    name, folder, *rest = sys.argv[1:]
    match name:
        case "work":
            work(Path(folder), int(rest[0]))
        case "fill":
            fill(Path(folder))
        case "meet_a_limit":
            meet_a_limit(Path(folder))
        case "meet_a_full_disk":
            meet_a_full_disk(Path(folder))
        case _:
            read_what_is_cut(Path(folder))


if __name__ == "__main__":
    main()
