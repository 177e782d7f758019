"""What faults of the log do to the messages that a node gets of it: which are lost, when they come, how often, and in which order. Pure.

The seam is the node's end of the Sync stream (`faulty_session.py`): what the control plane has sent is intact until here, and what comes out goes to the same protocol
as ever. Leases and snapshots pass as they are, in time, or every fault of the log would be one of the link. A protocol that works notices a gap and asks again; that
is what these faults are for.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from proto.cdn.v1 import sync_pb2
from proto.injected_faults import FaultKind, FaultParameter, InjectedFault, ValueKind

LOSE, DELAY, DUPLICATE, REORDER = "log-lose", "log-delay", "log-duplicate", "log-reorder"
LYING_ACKNOWLEDGEMENT, REJECT_CONFIGURATION, DIRECTORY_LOST = (
    "lying-acknowledgement",
    "reject-configuration",
    "directory-lost",
)

MOST_DELAY_SECONDS: Final = 3600.0
MOST_COUNT: Final = 1_000_000
MOST_HELD_ENTRIES: Final = 10_000
"""Of a log that is delayed; when there are more, the stream is given up, as a connection that nobody reads."""
REORDER_SECONDS: Final = 1.0
"""An entry that waits for the next one to overtake it waits no longer: else it would be lost where nothing follows."""


def _probability(default: float) -> FaultParameter:
    return FaultParameter("probability", ValueKind.NUMBER, 0.000001, 1, default)


LOG_KINDS: Final = (
    FaultKind(LOSE, (_probability(1.0), FaultParameter("count", ValueKind.INTEGER, 0, MOST_COUNT, 0))),
    FaultKind(DELAY, (FaultParameter("by", ValueKind.NUMBER, 0.001, MOST_DELAY_SECONDS),)),
    FaultKind(DUPLICATE, (_probability(1.0),)),
    FaultKind(REORDER, (_probability(0.5),)),
    FaultKind(LYING_ACKNOWLEDGEMENT),
    FaultKind(
        REJECT_CONFIGURATION, (FaultParameter("reason", ValueKind.TEXT, default="an injected fault refuses it"),)
    ),
    FaultKind(DIRECTORY_LOST),
)
"""What every node that follows the log knows; docs/faults.md says what they do."""


class TooMuchHeldError(OSError):
    """A delay holds more entries than it may."""


@dataclass(frozen=True, slots=True)
class _Held:
    due_at: float
    entry: sync_pb2.Entry


class Distortion:
    """Of one stream: what is held goes with it, and is sent again on the next one."""

    def __init__(self, in_force: Callable[[str], InjectedFault | None]) -> None:
        self._in_force = in_force
        self._ready: deque[sync_pb2.ControlMessage] = deque()
        self._delayed: deque[_Held] = deque()
        self._overtaken: _Held | None = None

    @property
    def next_due_at(self) -> float | None:
        """When something that is held has to go on."""
        held = [*(each for each in (self._overtaken,) if each is not None), *list(self._delayed)[:1]]
        return min((each.due_at for each in held), default=None)

    def received(self, message: sync_pb2.ControlMessage, now: float) -> None:
        """The control plane has said this. TooMuchHeldError."""
        match message.WhichOneof("kind"):
            case "entry":
                self._entries_received((message.entry,), now)
            case "entries":
                self._entries_received(message.entries.entries, now)
            case "directory" | "directory_change" if (lost := self._in_force(DIRECTORY_LOST)) is not None:
                lost.times += 1
            case _:
                self._ready.append(message)

    def next_message(self, now: float) -> sync_pb2.ControlMessage | None:
        """What reaches the node now, in turn."""
        if self._overtaken is not None and now >= self._overtaken.due_at:
            held, self._overtaken = self._overtaken, None
            self._delay(held.entry, now)
        while self._delayed and now >= self._delayed[0].due_at:
            self._ready.append(_message(self._delayed.popleft().entry))
        return self._ready.popleft() if self._ready else None

    def _entries_received(self, entries: Iterable[sync_pb2.Entry], now: float) -> None:
        for entry in entries:
            if not self._is_lost():
                self._reorder(entry, now)
                if self._happens(DUPLICATE):
                    self._reorder(entry, now)

    def _is_lost(self) -> bool:
        fault = self._in_force(LOSE)
        is_over = fault is not None and 0 < int(fault.parameters["count"]) <= fault.times
        return not is_over and self._happens(LOSE)

    def _reorder(self, entry: sync_pb2.Entry, now: float) -> None:
        overtaken = self._overtaken
        if overtaken is not None:
            self._overtaken = None
            self._delay(entry, now)
            self._delay(overtaken.entry, now)
        elif self._happens(REORDER):
            self._overtaken = _Held(now + REORDER_SECONDS, entry)
        else:
            self._delay(entry, now)

    def _delay(self, entry: sync_pb2.Entry, now: float) -> None:
        fault = self._in_force(DELAY)
        if fault is None and not self._delayed:
            self._ready.append(_message(entry))
            return
        if len(self._delayed) >= MOST_HELD_ENTRIES:
            raise TooMuchHeldError(f"{DELAY} holds {MOST_HELD_ENTRIES} entries, which is the most")
        due_at = now
        if fault is not None:
            fault.times += 1
            due_at = now + float(fault.parameters["by"])
        self._delayed.append(_Held(due_at, entry))  # behind those from before, whatever they wait for

    def _happens(self, kind: str) -> bool:
        fault = self._in_force(kind)
        if fault is None or fault.dice() >= float(fault.parameters["probability"]):
            return False
        fault.times += 1
        return True


def _message(entry: sync_pb2.Entry) -> sync_pb2.ControlMessage:
    return sync_pb2.ControlMessage(entry=entry)
