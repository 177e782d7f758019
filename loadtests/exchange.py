"""What a viewer did for one request and what came of it: facts that a history keeps, as values. Pure.

Moments are nanoseconds of the host's clock (proto/host_clock.py).
"""

from typing import NamedTuple

from loadtests.connection import Response
from loadtests.name_resolution import Answer


class Exchange(NamedTuple):
    """A request that is over, with all its attempts."""

    response: Response | None
    """What came, as far as it came; None: not even a head."""
    error: str
    """What the viewer saw go wrong; empty: nothing."""
    address: str
    """Where the last attempt went; empty: nowhere."""
    answer: Answer | None
    """By which the last attempt found its address; None: the name was not resolved."""
    attempts: int
    """Connections and kept connections on which it was sent, or that were refused."""
    started_ns: int | None
    """Before the first attempt; None: there was none."""
    ended_ns: int


class ExchangeSoFar:
    """The same while it is under way."""

    __slots__ = ("address", "answer", "attempts", "started_ns")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.address = ""
        self.attempts = 0
        self.started_ns: int | None = None

    def attempt(self, now_ns: int) -> None:
        """One more begins."""
        if self.started_ns is None:
            self.started_ns = now_ns
        self.attempts += 1

    def over(self, response: Response | None, error: str, now_ns: int) -> Exchange:
        """It ends so."""
        return Exchange(response, error, self.address, self.answer, self.attempts, self.started_ns, now_ns)
