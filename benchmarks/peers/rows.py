"""The rows that need more than wrk: latency at a fixed rate, idle connections, collapsing, and memory."""

import asyncio
import secrets
from dataclasses import dataclass

from benchmarks.peers.processes import BenchmarkError, resident_bytes
from benchmarks.peers.requests import ZIPF_KEYS
from benchmarks.peers.results import Figure, Goal, Spread, alone, compared
from benchmarks.peers.session import Session, turns
from benchmarks.peers.slow_origin import DIGEST, slow_origin
from benchmarks.peers.thinking import VIEWERS as THINKING_VIEWERS
from benchmarks.peers.thinking import LatencySample, at_rate, percentile
from benchmarks.peers.viewers import fill, idle_connections, view_together
from benchmarks.peers.wrk import Load, browser_headers, run_wrk, zipf_script

IDLE_CONNECTIONS = 1_000
ACTIVE_CONNECTIONS = 32
VIEWERS = 1_000
STORED_OBJECTS = 100_000
OBJECT_BYTES = 1_024
WORKS = {"one": Load("/small/one"), "zipf": Load("/small/k1", browser_headers(), zipf_script(ZIPF_KEYS))}


# -- latency

HELD = 0.9
"""Of the rate: viewers also wait, and wrk looks after their clocks only now and then, so that all are asked a little less often than the rate says."""
HOLDING = ("edge", "nginx")
"""Half of what saturates ours is within the means of these two: if one of them does not keep up, something else took the core."""
MOST_DISCARDED = 3
SATURATING_RUNS = 3
SHORTEST_SECONDS = 3.0
"""All connections have to be made first."""
MOST_BUSY = 0.9
"""Of the generator's core; beyond it the generator is what is compared."""


async def latency(session: Session, work: str) -> list[Figure]:
    """The 99th percentile of all servers at half of the rate that saturates ours."""
    rate = await _saturation(session, work) / 2
    taken: dict[str, list[LatencySample]] = {name: [] for name in session.running}
    discarded = 0
    while len(taken["edge"]) < session.rounds:
        samples: dict[str, LatencySample] = {}
        for name in turns(list(session.running), len(taken["edge"]) + 1, len(taken["edge"])):
            address = session.running[name].place.address
            asked = (WORKS[work], rate, max(session.seconds, SHORTEST_SECONDS), session.folder)
            samples[name] = await asyncio.to_thread(at_rate, address, *asked)
            session.forget_logs()
        if all(samples[name].rate >= HELD * rate for name in HOLDING if name in samples):
            for name, sample in samples.items():
                taken[name].append(sample)
        elif (discarded := discarded + 1) > MOST_DISCARDED * session.rounds:
            answered = ", ".join(f"{name} {sample.rate:,.0f}" for name, sample in samples.items())
            raise BenchmarkError(f"{rate:,.0f} requests/s were not held in {discarded} rounds; the last: {answered}")
    values = {name: [sample.p99 * 1e6 for sample in samples] for name, samples in taken.items()}
    p50 = ", ".join(f"{name} {_median(samples, 'p50') * 1e6:,.0f}" for name, samples in taken.items())
    held = ", ".join(f"{name} {_median(samples, 'rate') / rate:.1%}" for name, samples in taken.items())
    busy = max(_median(taken[name], "load_core_busy") for name in HOLDING if name in taken)
    note = (
        f"at {rate:,.0f} requests/s of {THINKING_VIEWERS:,} viewers who think; answered: {held}; p50, us: {p50}; the generator's core was busy {busy:.0%}; "
        f"{discarded} rounds discarded because {' or '.join(HOLDING)} did not keep up: the machine was busy"
    )
    row = (f"p99 {work}", "latency at half of our saturation rate", "us")
    if busy > MOST_BUSY:
        return [compared(row, values, (), f"NO VERDICT, the generator had no core to spare; {note}")]
    return [compared(row, values, (Goal(1.2, "nginx", True),), note)]


async def _saturation(session: Session, work: str) -> float:
    """Requests a second of ours under wrk; all servers have everything in their caches afterwards."""
    for server in session.running.values():
        await fill(server.place.address, (f"/small/k{number}" for number in range(1, ZIPF_KEYS + 1)))
        await fill(server.place.address, iter(("/small/one",)))
    rates = []
    for _ in range(SATURATING_RUNS):
        edge = session.running["edge"].place.address
        sample = await asyncio.to_thread(run_wrk, edge, WORKS[work], session.seconds, session.folder)
        rates.append(sample.requests_per_second)
        session.forget_logs()
    return Spread.of(rates).median


def _median(samples: list[LatencySample], name: str) -> float:
    return Spread.of([getattr(sample, name) for sample in samples]).median


# -- idle connections


async def idle(session: Session) -> list[Figure]:
    """Throughput of 32 connections among 1,000, and what one costs."""
    edge = session.running["edge"]
    load = Load("/small/one", connections=ACTIVE_CONNECTIONS)
    shares = []
    for _ in range(session.rounds):
        alone_sample = await asyncio.to_thread(run_wrk, edge.place.address, load, session.seconds, session.folder)
        async with idle_connections(edge.place.address, IDLE_CONNECTIONS - ACTIVE_CONNECTIONS):
            among = await asyncio.to_thread(run_wrk, edge.place.address, load, session.seconds, session.folder)
        shares.append(among.requests_per_second / alone_sample.requests_per_second)
        session.forget_logs()
    costs = [await _connection_kibibytes(session) for _ in range(3)]
    return [
        alone(("1,000 idle: rate", "of 32 among 1,000 connections, to that of 32 alone", "ratio"), shares, Goal(0.9)),
        alone(
            ("1,000 idle: memory", "resident memory of an idle connection", "KiB"), costs, Goal(20.0, is_at_most=True)
        ),
    ]


async def _connection_kibibytes(session: Session) -> float:
    """Of an edge that had never more than a few connections, so that nothing is reused."""
    server, process = await asyncio.to_thread(session.start_edge)
    async with idle_connections(server.place.address, ACTIVE_CONNECTIONS):
        pass
    before = resident_bytes(process.pid)
    async with idle_connections(server.place.address, IDLE_CONNECTIONS):
        cost = (resident_bytes(process.pid) - before) / IDLE_CONNECTIONS / 1024
    await asyncio.to_thread(session.stop, {"edge": server})
    return cost


IDLE_MEBIBYTES = 45.0
"""The goal for an edge that waits for its first viewer."""
SETTLED_SECONDS = 4.0
"""Two seconds after its start an edge gives back what only the start needed."""


async def idle_edge(session: Session) -> list[Figure]:
    """What an edge keeps resident that has nothing to do; the whole lab is `benchmarks/node_memory.py`'s."""
    found = []
    for _ in range(min(3, session.rounds)):
        server, process = await asyncio.to_thread(session.start_edge)
        await asyncio.sleep(SETTLED_SECONDS)
        found.append(resident_bytes(process.pid) / 1024**2)
        await asyncio.to_thread(session.stop, {"edge": server})
    row = ("memory: idle edge", "resident memory of an edge that nobody has asked much yet", "MiB")
    return [alone(row, found, Goal(IDLE_MEBIBYTES, is_at_most=True))]


# -- collapsing


async def collapse(session: Session) -> list[Figure]:
    """How long after the origin's last byte the viewers had everything; once for each server and round."""
    added: dict[str, list[float]] = {}
    notes = []
    left_out = session.left_out("collapse")
    here = {name: server for name, server in session.running.items() if name not in left_out}
    async with slow_origin() as origin:
        for name, server in here.items():
            try:
                for _ in range(session.rounds if name == "edge" else 1):
                    target = f"/slow/{secrets.token_hex(6)}"
                    times, bodies = await view_together(server.place.address, target, VIEWERS, 8)
                    if bodies != {DIGEST}:
                        raise BenchmarkError("other bytes than the origin's")
                    late = sorted(time - origin.ended_at[target] for time in times)
                    added.setdefault(name, []).append(percentile(late, 0.99) * 1e3)
                    notes.append(f"{name} {origin.fetches[target]}")
            except (BenchmarkError, TimeoutError) as error:
                if name == "edge":
                    raise BenchmarkError(f"collapse: {error!r}") from error
                notes.append(f"{name} failed: {error!r}")
            session.forget_logs()
    goal = Goal(50.0, is_at_most=True)
    fetches = [int(note.rpartition(" ")[2]) for note in notes if note.startswith("edge ")]
    row = ("collapse", f"{VIEWERS:,} viewers of one cold 1 MiB object: p99 over what the origin took", "ms")
    reasons = "".join(f"; {name} not measured: {reason}" for name, reason in left_out.items())
    figure = alone(row, added.pop("edge"), goal, f"origin fetches: {', '.join(notes)}{reasons}")
    others = {name: Spread.of(values) for name, values in added.items()}
    return [
        Figure(*row, figure.values | others, {}, figure.verdicts, figure.note),
        alone(
            ("collapse: fetches", "of the origin for all viewers together", "fetches"),
            fetches,
            Goal(1, is_at_most=True),
        ),
    ]


# -- memory


@dataclass(frozen=True)
class Stored:
    """What an object costs beyond its body."""

    resident_bytes: float
    """By the memory of the process."""
    counted_bytes: float
    """By the store's budget."""


async def store_objects(session: Session, count: int) -> Stored:
    """Fill an edge of its own, which has served some objects before: what the first ones import and remember is not the cost of an entry."""
    server, process = await asyncio.to_thread(session.start_edge)
    await fill(server.place.address, (f"/small/warm/{number}" for number in range(1_000)))
    before, counted = resident_bytes(process.pid), session.metric(server, "cdn_store_bytes")
    await fill(server.place.address, (f"/small/stored/{number}.html" for number in range(count)))
    after, counted = resident_bytes(process.pid), session.metric(server, "cdn_store_bytes") - counted
    entries = session.metric(server, "cdn_store_entries")
    await asyncio.to_thread(session.stop, {"edge": server})
    session.forget_logs()
    if entries < count:
        raise BenchmarkError(f"only {entries:,.0f} of {count:,} objects are stored")
    return Stored((after - before) / count - OBJECT_BYTES, counted / count - OBJECT_BYTES)


async def memory(session: Session) -> list[Figure]:
    """Resident memory of 100,000 stored objects beyond their bodies."""
    stored = await store_objects(session, STORED_OBJECTS)
    row = ("memory", f"overhead of a stored 1 KiB object, {STORED_OBJECTS:,} objects", "bytes")
    note = f"the store counts {stored.counted_bytes:,.0f} against its budget"
    return [alone(row, [stored.resident_bytes], Goal(600, is_at_most=True), note)]
