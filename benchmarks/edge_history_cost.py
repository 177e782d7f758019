"""What the history of a run costs an edge for a hit: CPU time of the edge for each request, without `--history`, with it while nothing is recorded, and while it is.

    python -m benchmarks.edge_history_cost [--rounds 7] [--seconds 4] [--other CHECKOUT]

All edges are asked in turn in each round, by wrk over one core, with one object and with many; what counts is the median of the ratios to the edge without within a
round. CPU time is more quiet than requests a second on a machine that does other things. `--other`: also the edge of another checkout, run as ours is.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.peers.compare import Checkout
from benchmarks.peers.requests import ZIPF_KEYS
from benchmarks.peers.rows import WORKS
from benchmarks.peers.servers import Server
from benchmarks.peers.session import Session, session, turns
from benchmarks.peers.viewers import fill
from benchmarks.peers.wrk import run_wrk
from edge_node.code_loader import SETTING
from lab.clients.http_client import ask

WITHOUT, IDLE, RECORDING, OTHER = "without", "idle", "recording", "other"
LEASE_SECONDS = 3_600


def edge_with_history(here: Session, name: str) -> Server:
    """One more of ours, with the flag."""
    server = here.edge_behind(name, here.place(name, False), ())
    ((program, command),) = server.commands
    command = [*command, "--history", str(here.folder / f"history-{name}")]
    server = replace(server, commands=((program, command),))
    here.start(server)
    return server


def begin_recording(server: Server) -> None:
    body = json.dumps({"run": "cost", "lease_seconds": LEASE_SECONDS}).encode()
    headers = [("content-type", "application/json")]
    assert ask(f"{server.place.host}:9100", "/history", method="POST", headers=headers, body=body).status == 200


def microseconds(here: Session, server: Server, work: str) -> float:
    """Of CPU time for each request."""
    before = here.cpu_seconds(server)
    sample = run_wrk(server.place.address, WORKS[work], here.seconds, here.folder)
    here.forget_logs()
    return (here.cpu_seconds(server) - before) / (sample.requests_per_second * here.seconds) * 1e6


async def measure(here: Session, servers: dict[str, Server], work: str) -> None:
    """Print what a request costs each of them."""
    taken: dict[str, list[float]] = {name: [] for name in servers}
    for name in turns(list(servers), here.rounds):
        taken[name].append(await asyncio.to_thread(microseconds, here, servers[name], work))
    for name, values in taken.items():
        ratios = [value / base for value, base in zip(values, taken[WITHOUT], strict=True)]
        low, high = min(ratios), max(ratios)
        print(
            f"{work}: {name}: {statistics.median(values):.2f} us for a hit, {statistics.median(ratios):.3f} of without ({low:.3f} to {high:.3f})"
        )


async def run(rounds: int, seconds: float, other: Path | None, folders: tuple[Path, Path]) -> None:
    """All of it."""
    async with session(folders, (), seconds, rounds) as here:
        servers = {WITHOUT: (await asyncio.to_thread(here.start_edge))[0]}
        for name in (IDLE, RECORDING):
            servers[name] = await asyncio.to_thread(edge_with_history, here, name)
        if other is not None:
            checkout = Checkout(other)
            checkout.check()
            before = checkout.before(os.environ.get(SETTING, ""))
            servers[OTHER] = await asyncio.to_thread(here.start_other, OTHER, before, False)
        begin_recording(servers[RECORDING])
        for server in servers.values():
            targets = ["/small/one", *(f"/small/k{key}" for key in range(1, ZIPF_KEYS + 1))]
            await fill(server.place.address, iter(targets))
        for work in WORKS:
            await measure(here, servers, work)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--other", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as disk:
        asyncio.run(run(given.rounds, given.seconds, given.other and given.other.resolve(), (Path(folder), Path(disk))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
