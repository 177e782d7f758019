"""Gates hold answers back until someone opens them: how tests order events between processes without sleeping.

A gate is a latch. It exists once it is named, stays open after it was opened, and is closed again by removing it.
"""

import asyncio
from dataclasses import dataclass, field

from origin.errors import InvalidInputError, StalledError

MAX_WAIT_SECONDS = 30.0
MAX_GATES = 1_000
MAX_WAITING = 1_000


@dataclass(slots=True)
class _Gate:
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0


class Gates:
    """All gates of one origin."""

    def __init__(self, max_wait_seconds: float = MAX_WAIT_SECONDS) -> None:
        self._gates: dict[str, _Gate] = {}
        self._max_wait_seconds = max_wait_seconds

    def open(self, name: str) -> None:
        """Let everybody through who waits or will come."""
        self._gate(name).opened.set()

    def remove(self, name: str) -> bool:
        """Forget the gate, so that it is closed for who comes next; who waits is let through. Whether it was there."""
        gate = self._gates.pop(name, None)
        if gate is not None:
            gate.opened.set()
        return gate is not None

    def state(self, name: str) -> dict[str, object]:
        """How many wait, and whether it is open. Asking does not create a gate."""
        gate = self._gates.get(name, _Gate())
        return {"id": name, "waiting": gate.waiting, "open": gate.opened.is_set()}

    def states(self) -> list[dict[str, object]]:
        """All gates."""
        return [self.state(name) for name in self._gates]

    async def wait_open(self, name: str) -> None:
        """Return when the gate is open. StalledError after the longest wait, or when too many wait already."""
        gate = self._gate(name)
        if gate.waiting >= MAX_WAITING:
            raise StalledError(f"more than {MAX_WAITING} requests wait at gate {name!r}")
        gate.waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await gate.opened.wait()
        except TimeoutError as error:
            raise StalledError(f"gate {name!r} was not opened within {self._max_wait_seconds:g} s") from error
        finally:
            gate.waiting -= 1

    def _gate(self, name: str) -> _Gate:
        if name not in self._gates and len(self._gates) >= MAX_GATES:
            self._forget_one()
        return self._gates.setdefault(name, _Gate())

    def _forget_one(self) -> None:
        """Make room: the oldest gate at which nobody waits."""
        idle = next((name for name, gate in self._gates.items() if not gate.waiting), None)
        if idle is None:
            raise StalledError(f"more than {MAX_GATES} gates are waited at")
        del self._gates[idle]


def checked_gate_name(name: str) -> str:
    """The name, or InvalidInputError: gates are addressed by one path segment."""
    if not name or len(name) > 200 or "/" in name:
        raise InvalidInputError(f"a gate's name is 1 to 200 characters without a slash, not {name[:40]!r}")
    return name
