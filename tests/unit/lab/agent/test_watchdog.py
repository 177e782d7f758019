"""When a watchdog starts its agent again, when it ends, and when it gives up."""

import socket
from collections.abc import Iterator

from lab.agent.watchdog import END, MOST_DEATHS, READY, watch


class Agents:
    """What each of them says before its socket closes; one that has said its word and is not END is dead."""

    def __init__(self, *words: bytes) -> None:
        self._words: Iterator[bytes] = iter(words)
        self.started = 0
        self.pauses: list[float] = []

    def start(self) -> socket.socket:
        self.started += 1
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(next(self._words))
        return ours

    def watched(self, now: float = 0.0) -> "Agents":
        watch(self.start(), self.start, self.pauses.append, lambda: now)
        return self


def test_an_agent_that_ends_in_order_is_the_last_one() -> None:
    assert Agents(READY + END).watched().started == 1
    assert Agents(END).watched().started == 1, "there was another agent already"


def test_one_that_is_killed_is_started_again() -> None:
    agents = Agents(READY, b"", READY, READY + END).watched()
    assert agents.started == 4 and len(agents.pauses) == 3


def test_those_that_work_are_started_again_for_ever_and_soon() -> None:
    agents = Agents(*[READY] * 200, END).watched()
    assert agents.started == 201 and max(agents.pauses) <= 1.0


def test_it_gives_up_when_none_gets_ready() -> None:
    agents = Agents(READY, *[b""] * 100).watched()
    assert agents.started == MOST_DEATHS + 2
    assert agents.pauses == sorted(agents.pauses) and max(agents.pauses) <= 5.0
