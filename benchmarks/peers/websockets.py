"""The row of WebSockets: echo round trips a second through our edge and through nginx, which tunnel them to an endpoint on the load's core.

Viewers and endpoint are Python on one core and are at their limit before a server is, so the CPU time that a server needs for a round trip is a figure of its own.
"""

import asyncio

from benchmarks.peers.echo import TARGET, echo_origin, echo_viewers, round_trips
from benchmarks.peers.processes import UnsupportedError
from benchmarks.peers.results import Figure, compared
from benchmarks.peers.servers import Server
from benchmarks.peers.session import Session, turns

VIEWERS = 32
WITH = ("edge", "nginx")
PAUSE_SECONDS = 0.1
"""Until the last echoes of a round have come, before the next round is begun."""


async def echoes(session: Session) -> list[Figure]:
    """In turn; UnsupportedError when our edge does not switch protocols."""
    here = {name: server for name, server in session.running.items() if name in WITH}
    rates: dict[str, list[float]] = {name: [] for name in here}
    costs: dict[str, list[float]] = {name: [] for name in here}
    async with echo_origin():
        for name in turns(list(here), session.rounds):
            rate, cost = await _one_round(session, here[name])
            rates[name].append(rate)
            costs[name].append(cost)
    title = f"echoes of a WebSocket, {VIEWERS} connections"
    return [
        compared(("websocket echo", title, "round trips/s"), rates, (), "viewers and endpoint share a core and are the limit"),
        compared(("websocket echo: CPU", "CPU time of a round trip, the access log included", "us"), costs, ()),
    ]  # fmt: skip


async def _one_round(session: Session, server: Server) -> tuple[float, float]:
    try:
        async with echo_viewers(server.place.address, VIEWERS) as viewers:
            await round_trips(viewers, PAUSE_SECONDS)  # everything is loaded and connected
            await asyncio.sleep(PAUSE_SECONDS)
            used = session.cpu_seconds(server)
            rate = await round_trips(viewers, session.seconds)
            used = session.cpu_seconds(server) - used
    except UnsupportedError as error:
        raise UnsupportedError(f"{server.name}: {error} ({TARGET})") from error
    return rate, used / max(1.0, rate * session.seconds) * 1e6
