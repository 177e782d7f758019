"""An event loop over virtual time: one for each simulated process whose code is written for asyncio. It does nothing while its process stands still, is late now and
then, and ends as its process does: nothing that its tasks do afterwards reaches anybody, for which whoever is at the other end of them asks `is_dead`."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, cast

from tests.simulation.world import Network, World

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

RESOLUTION_SECONDS = 1e-6
"""A timer is never early, whatever is lost where one clock is turned into another one."""
LATE_TURNS = 0.02
"""How often something else comes between two turns of the loop."""
LATE_SECONDS = (0.0005, 0.01)
MOST_ROUNDS = 100
"""In which whatever a dead process had going must have ended."""


class Handle:
    """See asyncio.Handle and asyncio.TimerHandle."""

    __slots__ = ("_args", "_callback", "_context", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...], context: Context | None) -> None:
        self._callback, self._args = callback, args
        self._context = copy_context() if context is None else context
        self.is_cancelled = False

    def cancel(self) -> None:
        """See asyncio.Handle."""
        self.is_cancelled = True

    def run(self) -> None:
        """Do what it is for."""
        self._context.run(self._callback, *self._args)


class VirtualLoop:
    """As much of an asyncio.AbstractEventLoop as tasks, futures, timers and locks need."""

    def __init__(self, world: World, network: Network, process: str, rate: float = 1.0) -> None:
        """`rate`: how fast the clock of the process goes."""
        self.is_dead = False
        self._as_real = cast(asyncio.AbstractEventLoop, self)
        self._world, self._network, self._process = world, network, process
        self._rate = rate
        self._dice = world.dice(f"loop of {process}")
        self._ready: deque[Handle] = deque()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._is_running = self._is_late = False
        self._failure: BaseException | None = None

    # For the simulation

    def enter(self, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Something comes from outside: call it, and do all that follows from it now."""
        if not self.is_dead:
            self.call_soon(callback, *args)
            self._run()

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Have a task of the process begin. What it raises ends the simulation."""
        if self.is_dead:
            work.close()
        self.enter(lambda: self.create_task(work).add_done_callback(self._ended))

    def kill(self) -> None:
        """The process ends here, as after kill -9: tasks are cancelled so that nothing is left of them, and whatever they would tell anybody is not heard."""
        if not self.is_dead:
            self.is_dead = True
            if not self._is_running:
                self._bury()

    def _run(self) -> None:
        if self._is_running or self._is_late:
            return
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self._as_real)
        self._is_running = True
        try:
            while self._ready and not (self._is_late or self.is_dead):
                self._turn()
                if self._ready and self._dice.random() < LATE_TURNS:
                    self._is_late = True
        finally:
            self._is_running = False
            asyncio._set_running_loop(before)
        if self.is_dead:
            self._bury()
        elif self._failure is not None:
            raise self._failure
        elif self._is_late:
            self._world.after(self._dice.uniform(*LATE_SECONDS), partial(self._in_process, self._go_on))

    def _turn(self) -> None:
        ready, was_dead = self._ready, self.is_dead
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.is_cancelled:
                handle.run()
                if self.is_dead is not was_dead:
                    return

    def _go_on(self) -> None:
        self._is_late = False
        self._run()

    def _bury(self) -> None:
        self._is_late = False
        for _ in range(MOST_ROUNDS):
            for task in list(self._tasks):
                task.cancel()
            if not self._tasks:
                self._ready.clear()
                return
            before, self._is_running = asyncio._get_running_loop(), True
            asyncio._set_running_loop(self._as_real)
            try:
                while self._ready:
                    self._turn()
            finally:
                self._is_running = False
                asyncio._set_running_loop(before)
        raise AssertionError(f"tasks of {self._process} do not end: {list(self._tasks)}")

    def _in_process(self, callback: Callable[[], None]) -> None:
        if not self.is_dead:
            self._network.run_in(self._process, callback)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        if not (self.is_dead or task.cancelled()):
            self._failure = self._failure or task.exception()

    # asyncio.AbstractEventLoop

    def time(self) -> float:
        """See AbstractEventLoop."""
        return self._world.now * self._rate

    def get_debug(self) -> bool:
        """See AbstractEventLoop."""
        return False

    def is_running(self) -> bool:
        """See AbstractEventLoop."""
        return self._is_running

    def is_closed(self) -> bool:
        """See AbstractEventLoop."""
        return self.is_dead

    def call_soon(self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None) -> Handle:
        """See AbstractEventLoop."""
        handle = Handle(callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> Handle:
        """See AbstractEventLoop."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Handle:
        """See AbstractEventLoop."""
        timer = Handle(callback, args, context)
        if not self.is_dead:
            seconds = max(0.0, (when - self.time()) / self._rate) + RESOLUTION_SECONDS
            self._world.after(seconds, partial(self._due, timer))
        return timer

    def _due(self, timer: Handle) -> None:
        if not (timer.is_cancelled or self.is_dead):
            self._network.run_in(self._process, partial(self._ring, timer))

    def _ring(self, timer: Handle) -> None:
        if not (timer.is_cancelled or self.is_dead):
            self._ready.append(timer)
            self._run()

    def create_future(self) -> "asyncio.Future[Any]":
        """See AbstractEventLoop."""
        return asyncio.Future(loop=self._as_real)

    def create_task(
        self,
        coro: Coroutine[Any, Any, _T] | Generator[Any, None, _T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[_T]":
        """See AbstractEventLoop."""
        task: asyncio.Task[_T] = asyncio.Task(coro, loop=self._as_real, name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """See AbstractEventLoop. What a callback raises ends the simulation."""
        if not self.is_dead:
            self._failure = self._failure or context.get("exception") or AssertionError(context["message"])
