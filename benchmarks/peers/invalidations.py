"""What accumulated invalidations cost a hit, and how long an invalidation of everything takes with few and with many entries stored (docs/invalidation.md)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.peers.processes import BenchmarkError
from benchmarks.peers.results import Figure, Goal, Spread, alone
from benchmarks.peers.servers import Server
from benchmarks.peers.session import Session, ask
from benchmarks.peers.viewers import fill
from benchmarks.peers.wrk import Load, each_once_script, run_wrk
from tests.peers.control_plane import ScriptedControlPlane

ACCUMULATED = (10, 1_000, 100_000)
KEYS = 10_000
EACH_SECONDS = 0.05
"""Between the invalidations that come in while lookups are measured: with fewer, most hits would not have to look at any."""
BATCH = 2_000
SIZES = (1_000, 30_000)
REPETITIONS = 11


@asynccontextmanager
async def own_edge(
    session: Session, memory_bytes: int | None = None
) -> AsyncIterator[tuple[ScriptedControlPlane, Server]]:
    """An edge that is told things which no other one hears."""
    async with ScriptedControlPlane(session.control.host) as control:
        control.distributions = session.control.distributions
        server, _ = await asyncio.to_thread(session.start_edge, False, control.address, memory_bytes)
        try:
            yield control, server
        finally:
            await asyncio.to_thread(session.stop, {"edge": server})


async def accumulate(control: ScriptedControlPlane, count: int) -> None:
    """Invalidations of objects that nobody asks for; every other one with a wildcard."""
    for first in range(0, count, BATCH):
        for number in range(first, min(first + BATCH, count)):
            control.invalidate("E1", f"/gone/{number}{'/*' if number % 2 else ''}")
        await control.wait_acknowledged(control.index, *control.streams, timeout=60)


async def trickle(control: ScriptedControlPlane) -> None:
    """One after the other, until cancelled."""
    while True:
        control.invalidate("E1", f"/passing/{control.index}*")
        await asyncio.sleep(EACH_SECONDS)


async def lookups(session: Session) -> list[Figure]:
    """Hits a second over many keys while invalidations come in, by how many have accumulated; the edges in turn."""
    rates: dict[int, list[float]] = {count: [] for count in ACCUMULATED}
    load = Load("/small/i1", script=each_once_script("i", "small", 0, KEYS))
    async with own_edge(session) as few, own_edge(session) as some, own_edge(session) as many:
        edges = dict(zip(ACCUMULATED, (few, some, many), strict=True))
        for count, (control, server) in edges.items():
            await accumulate(control, count)
            await asyncio.to_thread(run_wrk, server.place.address, load, 3, session.folder)
        for _ in range(session.rounds):
            for count, (control, server) in edges.items():
                arriving = asyncio.ensure_future(trickle(control))
                try:
                    sample = await asyncio.to_thread(
                        run_wrk, server.place.address, load, session.seconds, session.folder
                    )
                finally:
                    arriving.cancel()
                rates[count].append(sample.requests_per_second)
                session.forget_logs()
    title = f"hits over {KEYS:,} keys, {1 / EACH_SECONDS:.0f} more invalidations a second meanwhile"
    figures = [
        alone((f"{count:,} invalidations", title, "requests/s"), values, None) for count, values in rates.items()
    ]
    shares = [most / least for most, least in zip(rates[ACCUMULATED[-1]], rates[ACCUMULATED[0]], strict=True)]
    row = ("invalidations: growth", f"rate with {ACCUMULATED[-1]:,} to rate with {ACCUMULATED[0]:,}", "ratio")
    return [*figures, alone(row, shares, Goal(0.9))]


async def everything(session: Session, largest: int) -> list[Figure]:
    """`/*` with few and with many entries: until the edge says that it applies, and the first lookup afterwards."""
    figures = []
    for count in (*SIZES, largest):
        async with own_edge(session, 6 * 1024**3) as (control, server):
            await fill(server.place.address, (f"/small/e{number}" for number in range(count)))
            stored = await asyncio.to_thread(session.metric, server, "cdn_store_entries")
            if stored < count:
                raise BenchmarkError(f"only {stored:,.0f} of {count:,} entries are stored")
            applied, first = await _invalidate_all(control, server)
        session.forget_logs()
        note = f"the first lookup afterwards, no hit any more: {Spread.of(first).median:.2f} ms"
        figures.append(alone((f"/* over {count:,}", "invalidation sent until acknowledged", "ms"), applied, None, note))
    return figures


async def _invalidate_all(control: ScriptedControlPlane, server: Server) -> tuple[list[float], list[float]]:
    applied, first = [], []
    for number in range(REPETITIONS):
        target = f"/small/e{number}"
        began_at = time.perf_counter()
        control.invalidate("E1", "/*")
        await control.wait_acknowledged(control.index, *control.streams)
        acknowledged_at = time.perf_counter()
        answer = await asyncio.to_thread(ask, server.place.address, target)
        first.append((time.perf_counter() - acknowledged_at) * 1e3)
        applied.append((acknowledged_at - began_at) * 1e3)
        if answer.is_hit:
            raise BenchmarkError(f"{target} was served from the cache after an invalidation of everything")
    return applied, first
