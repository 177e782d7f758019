"""The rows that wrk can measure: what is asked for, what is compared, and what it has to reach (issue: the cache engine, section Speed)."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks.peers.origin import SMALL_ETAG
from benchmarks.peers.processes import BenchmarkError
from benchmarks.peers.requests import BROWSER_HEADERS, ZIPF_KEYS
from benchmarks.peers.results import BEST, Figure, Goal, Spread, compared
from benchmarks.peers.servers import Server
from benchmarks.peers.session import Session, turns
from benchmarks.peers.viewers import fill
from benchmarks.peers.wrk import (
    Load,
    Sample,
    browser_headers,
    each_once_script,
    run_wrk,
    zipf_script,
)

DISK_OBJECTS = 48
RANGE = {"Range": "bytes=256-511"}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    load: Callable[[], Load]
    """Made anew for each measurement."""
    goals: tuple[Goal, ...]
    checked: tuple[str, dict[str, str], int]
    """A target that has to be a hit before the measurement, the headers to ask with, and the status expected."""
    is_bytes: bool = False
    is_disk: bool = False
    filled: tuple[str, int] | None = None
    """The path of the objects that have to be in the cache before, without their numbers, and how many they are."""


def _same(target: str, **headers: str) -> Callable[[], Load]:
    load = Load(target, tuple(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()))
    return lambda: load


def each_once() -> Load:
    """Objects that nobody has asked for before."""
    return Load("/small/m", script=each_once_script(f"m{secrets.token_hex(6)}-"))


_ZIPF = Load("/small/k1", browser_headers(), zipf_script(ZIPF_KEYS))
_DISK = Load("/10m/d1", script=each_once_script("d", "10m", 0, DISK_OBJECTS))

ROWS = (
    Row(
        "hit 1 KiB",
        "one object, keep-alive, 32 connections",
        _same("/small/one"),
        (Goal(1.4, "nginx"), Goal(1.3, BEST)),
        ("/small/one", {}, 200),
    ),
    Row(
        "hit 64 KiB",
        "one object from memory",
        _same("/64k/one"),
        (Goal(1.0, BEST),),
        ("/64k/one", {}, 200),
        is_bytes=True,
    ),
    Row(
        "hit 1 MiB", "one object from memory", _same("/1m/one"), (Goal(1.0, BEST),), ("/1m/one", {}, 200), is_bytes=True
    ),
    Row(
        "hit 10 MiB disk",
        f"{DISK_OBJECTS} objects, more than the caches may keep in memory; the kernel's page cache is warm",
        lambda: _DISK,
        (Goal(1.0, "varnish"),),
        ("/10m/d1", {}, 200),
        is_bytes=True,
        is_disk=True,
        filled=("/10m/d", DISK_OBJECTS),
    ),
    Row(
        "hit Zipf 10,000",
        f"{ZIPF_KEYS:,} keys, Zipf, {len(BROWSER_HEADERS) + 1} request headers of a browser",
        lambda: _ZIPF,
        (Goal(1.2, "nginx"), Goal(1.3, "haproxy")),
        ("/small/k1", BROWSER_HEADERS, 200),
        filled=("/small/k", ZIPF_KEYS),
    ),
    Row(
        "miss 1 KiB",
        "each object once, stored; origin over keep-alive",
        each_once,
        (Goal(1.0, "nginx"), Goal(0.8, "trafficserver")),
        ("/small/one", {}, 200),
    ),
    Row(
        "hit 304",
        "If-None-Match of one 1 KiB object",
        _same("/small/one", If_None_Match=SMALL_ETAG),
        (Goal(1.0, "nginx"),),
        ("/small/one", {"If-None-Match": SMALL_ETAG}, 304),
    ),
    Row(
        "hit 206",
        "256 bytes of one 1 KiB object",
        _same("/small/one", **RANGE),
        (Goal(1.0, "nginx"),),
        ("/small/one", RANGE, 206),
    ),
)


@dataclass
class Taken:
    """What was measured of each server, one value a round."""

    samples: dict[str, list[Sample]]
    microseconds: dict[str, list[float]]
    """CPU time for each answer."""

    @staticmethod
    def of(names: Iterable[str]) -> "Taken":
        """Nothing yet."""
        known = tuple(names)
        return Taken({name: [] for name in known}, {name: [] for name in known})


async def measure(session: Session, row: Row) -> list[Figure]:
    """On the servers that all rows share, or on some of its own; without those that cannot do it."""
    here = await session.start_all(is_disk=True, row=row.name) if row.is_disk else session.running
    left_out = session.left_out(row.name)
    here = {name: server for name, server in here.items() if name not in left_out}
    try:
        taken = Taken.of(here)
        await take(session, row, here, taken, range(session.rounds))
    finally:
        if row.is_disk:
            await asyncio.to_thread(session.stop, here)
    return [figure_of(row, taken, left_out)]


async def take(session: Session, row: Row, here: dict[str, Server], taken: Taken, rounds: range) -> None:
    """Fill, verify, then all servers in turn in each round, the first of them another one each time; verify again."""
    for server in here.values():
        if row.filled is not None:
            path, count = row.filled
            await fill(server.place.address, (f"{path}{number}" for number in range(1, count + 1)))
        await asyncio.to_thread(_run, session, row.load(), server, 1)
        await asyncio.to_thread(session.verify, server, *row.checked)
    for name in turns(list(here), rounds.stop, rounds.start):
        used = session.cpu_seconds(here[name])
        sample = await asyncio.to_thread(_run, session, row.load(), here[name], session.seconds)
        taken.samples[name].append(sample)
        answers = max(1.0, sample.requests_per_second * session.seconds)
        taken.microseconds[name].append((session.cpu_seconds(here[name]) - used) / answers * 1e6)
    for server in here.values():
        await asyncio.to_thread(session.verify, server, *row.checked)


def figure_of(row: Row, taken: Taken, left_out: Mapping[str, str] | None = None) -> Figure:
    """The line of the table, with how busy the cores were and who is not in it."""
    values = values_of(row, taken)
    busy = ", ".join(
        f"{name} {min(each.server_core_busy for each in samples):.0%}/{max(each.load_core_busy for each in samples):.0%}"
        for name, samples in taken.samples.items()
    )
    cost = ", ".join(f"{name} {Spread.of(each).median:.1f}" for name, each in taken.microseconds.items())
    note = f"the measured core was busy at least, the other at most: {busy}; CPU time for each answer, us: {cost}"
    note += "".join(f"; {name} not measured: {reason}" for name, reason in (left_out or {}).items())
    return compared(words_of(row), values, row.goals, note)


def words_of(row: Row) -> tuple[str, str, str]:
    """Name, title and unit."""
    return row.name, row.title, "MB/s" if row.is_bytes else "requests/s"


def values_of(row: Row, taken: Taken) -> dict[str, list[float]]:
    """What is compared."""
    return {name: [_figure(row, sample) for sample in samples] for name, samples in taken.samples.items()}


def _figure(row: Row, sample: Sample) -> float:
    return sample.bytes_per_second / 1e6 if row.is_bytes else sample.requests_per_second


def _run(session: Session, load: Load, server: Server, seconds: float) -> Sample:
    try:
        return run_wrk(server.place.address, load, seconds, session.folder)
    except BenchmarkError as error:
        raise BenchmarkError(f"{server.name}: {error}") from error
    finally:
        session.forget_logs()
