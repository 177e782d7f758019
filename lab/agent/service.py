"""What the agent does, one thing at a time: the keeper's work on a thread, its leases when they are due, and what happens told to listeners."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from lab.agent.events import Event, Events
from lab.agent.keeper import Keeper, Order
from lab.agent.lab_clock import LabClock, Moved
from lab.agent.pulse import Pulse
from lab.cluster.interface import Cluster
from lab.cluster.status import LabStatus
from lab.errors import LabError
from lab.faults.lease import Lease
from proto.moments import ClockAnchor

MOST_WAITING = 32
_LOOK_SECONDS = 0.25
"""Timers stand still while the machine sleeps: no lease is overdue for longer than this after it has woken."""
_STATUS_SECONDS = 1.0
_CLOCK_SECONDS = 0.5
"""For so long an origin that was started again has the true time, in a lab whose clock is ahead."""

T = TypeVar("T")


class BusyError(LabError):
    """Too many wait already."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The lab as whoever asks sees it. `cluster` is for looking only, so that a slow action keeps nobody from seeing what happens."""

    cluster: Cluster
    topology: str
    anchor: ClockAnchor


class Service:
    """`pulse` is told of every step that is done."""

    def __init__(self, keeper: Keeper, seen: Seen, events: Events, pulse: Pulse, clock: LabClock) -> None:
        self.keeper, self.events, self.clock = keeper, events, clock
        self._look, self._seen, self._pulse = seen.cluster, seen, pulse
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._changed = asyncio.Event()

    def status(self) -> dict[str, object]:
        return {
            "id": "agent",
            "pid": os.getpid(),
            "topology": self._seen.topology,
            "clock": self._seen.anchor.to_json(),
            "faults": len(self.keeper.leases),
            "unreadable": self.keeper.unreadable,
        }

    async def inject(self, order: Order) -> Lease:
        return await self._act(lambda: self.keeper.inject(order))

    async def heal(self, lease_id: str) -> Lease:
        return await self._act(lambda: self.keeper.heal(lease_id))

    async def heal_all(self) -> list[Lease]:
        return await self._act(lambda: [self.keeper.heal(lease.id) for lease in self.keeper.leases])

    async def start(self, node_id: str) -> tuple[Lease, ...]:
        return await self._act(lambda: self.keeper.start(node_id))

    async def move_clock(self, seconds: float) -> Moved:
        return await self._act(lambda: self.clock.forward(seconds))

    async def watch_origins(self) -> None:
        """Whoever is started again does not know that the lab's clock is ahead."""
        while True:
            await asyncio.sleep(_CLOCK_SECONDS)
            if self.clock.is_ahead:
                with suppress(LabError):
                    await asyncio.to_thread(self.clock.look_after_origins)

    async def keep(self, now: Callable[[], float]) -> None:
        """Undoes what is due, until the lab is gone."""
        while await asyncio.to_thread(self._is_up):
            self._pulse.moved()
            await self._wait_until_due(now)
            async with self._turn:
                self._pulse.moved()
                await asyncio.to_thread(self.keeper.heal_due)
            self._pulse.moved()

    def _is_up(self) -> bool:
        """An engine that does not answer is no lab that is gone."""
        try:
            return self._look.is_up
        except LabError:
            return True

    async def watch_nodes(self) -> None:
        """While somebody listens: each change of a node's state."""
        states: dict[str, str] = {}
        while True:
            await asyncio.sleep(_STATUS_SECONDS)
            if not self.events.has_listeners:
                states = {}
                continue
            fresh = await self._states()
            for node_id in fresh.keys() & states.keys():
                if fresh[node_id] != states[node_id]:
                    self.events.tell(Event("node", {"id": node_id, "before": states[node_id], "state": fresh[node_id]}))
            states = fresh or states

    async def _states(self) -> dict[str, str]:
        try:
            status: LabStatus = await asyncio.to_thread(self._look.status)
        except LabError:
            return {}
        return {each.node.id: each.state for each in status.nodes}

    async def _act(self, do: Callable[[], T]) -> T:
        """In turn. It goes on when whoever asked has left: half a fault is none."""
        if self._waiting >= MOST_WAITING:
            raise BusyError(f"{MOST_WAITING} requests are waiting already: try again")
        self._waiting += 1
        try:
            return await asyncio.shield(asyncio.ensure_future(self._in_turn(do)))
        finally:
            self._waiting -= 1
            self._changed.set()

    async def _in_turn(self, do: Callable[[], T]) -> T:
        async with self._turn:
            self._pulse.moved()
            return await asyncio.to_thread(do)

    async def _wait_until_due(self, now: Callable[[], float]) -> None:
        self._changed.clear()
        due = self.keeper.next_due
        wait = _LOOK_SECONDS if due is None else min(_LOOK_SECONDS, max(0.0, due - now()))
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait()
        except TimeoutError:
            return
