"""The HTTP half of injected faults, the same for every program that allows them: what `/faults` on an admin port answers, and who is told when a fault begins and ends.

    GET /faults           {"faults": [...]}, oldest first
    POST /faults          {"kind", "parameters", "lease_seconds"}: 201 with the fault; 400, 409
    DELETE /faults/ID     200 with the fault that has been ended; 404

A program that was started without `--allow-faults` has no `FaultPort`, and answers these paths as any other that it does not know. Who may ask is `admin_access.py`'s
rule, and how a request is read the admin port's own. What faults there are and how they do their work belongs to each program.
"""

import asyncio
import json
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

from proto.host_clock import host_seconds
from proto.injected_faults import FaultCollisionError, FaultKind, InjectedFault, InjectedFaults, UnusableFaultError
from proto.seeds import derived

MOST_BODY_BYTES = 65_536

_SEED_BITS = 62
_PATH = "/faults"
_TEXT, _JSON = "text/plain; charset=utf-8", "application/json"
_logger = logging.getLogger(__name__)

Answer = tuple[int, str, bytes]
"""Status, content type, body."""
Listener = Callable[[], None]


class FaultPort:
    """The faults of this process, for as long as it runs. To be used on its event loop."""

    def __init__(
        self, kinds: Iterable[FaultKind], clock: Callable[[], float] = host_seconds, seed: int | None = None
    ) -> None:
        """With a seed (of this program) the n-th fault of a kind since the start does what it did the last time, asked as often; without one it is chance."""
        self._seed = secrets.randbits(_SEED_BITS) if seed is None else seed
        self._numbers = Counter[str]()
        self._table = InjectedFaults(kinds)
        self._clock = clock
        self._listeners: dict[str, list[Listener]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def when_changed(self, kind: str, listener: Listener) -> None:
        """Have somebody called whenever a fault of this kind has begun or is over; `in_force` tells which."""
        self._listeners.setdefault(kind, []).append(listener)

    def in_force(self, kind: str) -> InjectedFault | None:
        """The fault of this kind, if there is one now. Whoever does what it says counts that in its `times`."""
        return None if self._table.is_empty else self._table.in_force(kind, self._clock())

    def answer(self, method: str, path: str, body: bytes) -> Answer | None:
        """One request; None for a path that is none of these."""
        match method, path.removeprefix(_PATH) if path.startswith(_PATH) else None:
            case _, None:
                return None
            case "GET", "":
                now = self._clock()
                return _told(200, {"faults": [fault.to_json(now) for fault in self._table.all_in_force(now)]})
            case "POST", "":
                return self._inject(body)
            case "DELETE", rest if rest.startswith("/"):
                return self._end(rest[1:])
            case _, rest if rest == "" or rest.startswith("/"):
                return 405, _TEXT, b"there are GET /faults, POST /faults and DELETE /faults/ID\n"
        return None

    def _inject(self, body: bytes) -> Answer:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            return 400, _TEXT, f"this is no JSON: {error}\n".encode()
        now = self._clock()
        try:
            self._look(now)
            fault = self._table.inject(document, f"f-{secrets.token_hex(6)}", now)
        except UnusableFaultError as error:
            return 400, _TEXT, f"{error}\n".encode()
        except FaultCollisionError as error:
            return 409, _TEXT, f"{error}\n".encode()
        self._numbers[fault.kind] += 1
        fault.seed = derived(self._seed, fault.kind, self._numbers[fault.kind])
        fault.dice = Random(fault.seed).random
        _logger.warning("the fault %s begins, for %g s: %s", fault.kind, fault.lease_seconds, dict(fault.parameters))
        self._plan_look(now)
        self._tell(fault)
        return _told(201, fault.to_json(now))

    def _end(self, identifier: str) -> Answer:
        now = self._clock()
        self._look(now)
        fault = self._table.end(identifier, now)
        if fault is None:
            return 404, _TEXT, b"no such fault is in force\n"
        self._is_over(fault)
        return _told(200, fault.to_json(now))

    def _plan_look(self, now: float) -> None:
        """When the next one ends. The timer only wakes whoever looks at the clock: it stands still while a machine is suspended, and may be early."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends_at = min((fault.ends_at for fault in self._table.all_in_force(now)), default=None)
        if ends_at is not None:
            self._timer = asyncio.get_running_loop().call_later(ends_at - now, self._look_again)

    def _look_again(self) -> None:
        now = self._clock()
        self._look(now)
        self._plan_look(now)

    def _look(self, now: float) -> None:
        for fault in self._table.ended(now):
            self._is_over(fault)

    def _is_over(self, fault: InjectedFault) -> None:
        _logger.warning("the fault %s is over", fault.kind)
        self._tell(fault)

    def _tell(self, fault: InjectedFault) -> None:
        for listener in self._listeners.get(fault.kind, ()):
            listener()


def _told(status: int, document: dict[str, object]) -> Answer:
    return status, _JSON, json.dumps(document).encode() + b"\n"
