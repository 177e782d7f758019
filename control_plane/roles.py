"""Which role this control plane has, leader or follower, and the change from one to the other.

A leader is a coordinator and streams over the database as it is now: each term begins as a control plane that was started anew would (`coordination.py`). A follower has
neither; it passes its nodes' streams on to the leader (`relay.py`). Over SQLite there is one control plane, which leads for as long as it runs.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from control_plane.coordination import Coordinator
from control_plane.leadership import RENEW_SECONDS, Observed, Seat, Tenure
from control_plane.ledger import SqlLedger
from control_plane.state import StoreError
from control_plane.sync import SyncService

POLL_SECONDS: Final = 0.2
"""How often a follower looks at the seat when nobody has announced anything."""

BLIND_SECONDS: Final = 1.0

_logger = logging.getLogger("control-plane")


@dataclass(frozen=True, slots=True)
class Leading:
    """Everything of one term."""

    term: int
    coordinator: Coordinator
    ledger: SqlLedger
    sync: SyncService


class Seats(Protocol):
    """Who leads, asked in a thread: see election.Election. OSError when that cannot be told."""

    def read(self) -> Seat:
        """As it is now."""

    def take(self, seen: Seat) -> int | None:
        """The term, if the seat is still what was seen."""

    def renew(self, term: int) -> bool:
        """Whether the term still is."""

    def resign(self, term: int) -> None:
        """Leave it."""

    def close(self) -> None:
        """Let go of the connection."""


Begin = Callable[[Tenure], Awaitable[Leading]]
"""Make everything of a term, which has begun."""


class Roles:
    """What this control plane is now. `run` must run for as long as nodes are served; it returns when the only leader there can be has ended."""

    def __init__(self, begin: Begin, clock: Callable[[], float], seats: Seats | None, own_address: str = "") -> None:
        """`clock` never goes back; without `seats` this is the only control plane. At `own_address` it answers nodes, and the other control planes."""
        self._begin = begin
        self._own_address = own_address
        self._clock = clock
        self._seats = seats
        self._observed = Observed(clock())
        self._seen_at = clock()
        self._changed = asyncio.Event()
        """Replaced at each change, so that everybody who waits for one is woken."""
        self._news = asyncio.Event()
        self._said = ""
        self.leading: Leading | None = None
        """None: a follower, or not clear yet."""

    @property
    def term(self) -> int:
        """The newest that is known of; 0 where there is one control plane only."""
        return self._observed.seat.term if self.leading is None else self.leading.term

    @property
    def leader_address(self) -> str | None:
        """Whom streams are passed on to; None while that is not clear, and of a leader."""
        if self.leading is not None or not self._observed.is_held(self._clock()):
            return None
        address = self._observed.seat.grpc_address
        return None if address == self._own_address else address

    @property
    def is_blind(self) -> bool:
        """Whether the database cannot be asked who leads: nodes are better off elsewhere."""
        return self.leading is None and self._clock() > self._seen_at + BLIND_SECONDS

    def heard_news(self) -> None:
        """Something was announced: the log has grown, or the seat has changed."""
        self._news.set()
        if self.leading is not None:
            self.leading.sync.log_grew()

    async def change(self) -> None:
        """Wait until this role, or the leader, is another one."""
        await self._changed.wait()

    async def run(self) -> None:
        """See the class."""
        while self._seats is None:
            await self._lead(Tenure(0, inf))
        try:
            while True:
                await self._look(self._seats)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._news.wait()
                self._news.clear()
        finally:
            self._seats.close()

    async def _look(self, seats: Seats) -> None:
        """At the seat, and take it when it is vacant."""
        asked_at = self._clock()
        try:
            seat = await asyncio.to_thread(seats.read)
            self._seen_at = asked_at
            before = self._observed.seat
            self._observed.see(seat, self._clock())
            if (seat.term, seat.grpc_address) != (before.term, before.grpc_address):
                self._has_changed()
            if not self._observed.is_vacant(self._clock()):
                return
            asked_at = self._clock()
            term = await asyncio.to_thread(seats.take, seat)
        except OSError as error:
            self._say_once(error)
            return
        self._said = ""
        if term is not None:
            await self._lead_while_seated(seats, Tenure(term, asked_at))

    async def _lead_while_seated(self, seats: Seats, tenure: Tenure) -> None:
        """Lead until the tenure is lost."""
        _logger.info("leads, in term %d", tenure.term)
        leading = asyncio.create_task(self._lead(tenure))
        renewing = asyncio.create_task(self._renew(seats, tenure))
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
            _logger.warning("leads no longer after term %d", tenure.term)
        except asyncio.CancelledError:
            await _ended(renewing)
            await _ended(leading)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(seats.resign, tenure.term)
            raise
        finally:
            tenure.end()
            self._seen_at = self._clock()
            for task in (leading, renewing):
                await _ended(task)

    async def _renew(self, seats: Seats, tenure: Tenure) -> None:
        while not tenure.is_lost(self._clock()):
            sent_at = self._clock()
            try:
                if await asyncio.to_thread(seats.renew, tenure.term):
                    tenure.renewed(sent_at)
                else:
                    tenure.end()
            except OSError as error:
                self._say_once(error)
            await asyncio.sleep(RENEW_SECONDS)

    async def _lead(self, tenure: Tenure) -> None:
        self.leading = await self._begin(tenure)
        self._has_changed()
        try:
            await self.leading.sync.run()
        finally:
            self.leading = None
            self._has_changed()

    def _say_once(self, error: OSError) -> None:
        """It is tried again several times a second."""
        if self._said != str(error):
            self._said = str(error)
            _logger.warning("%s", error)

    def _has_changed(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def _ended(task: "asyncio.Task[None]") -> None:
    """Cancel it and wait; what it ended with is logged and goes no further: a leader that fails is no leader."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    except StoreError as error:
        _logger.error("the leader has failed: %s", error)
    except Exception:
        _logger.exception("the leader has failed")
