"""The lab's clock at an origin (docs/time-travel.md): how far its wall clock is ahead of the true one, which the lab tells it at `/clock` of the operators' port.

An origin follows no log. So the lab tells it before the nodes are told, and once more after each start.
"""

from collections.abc import Callable

from origin.errors import InvalidInputError
from proto.lab_clock import problem_with


class LabClock:
    """The wall clock that everything of an origin is dated by: `Date`, `Last-Modified`, what is live."""

    def __init__(self, true_wall: Callable[[], float]) -> None:
        self._true_wall = true_wall
        self.ahead_seconds = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self._true_wall() + self.ahead_seconds

    def put(self, document: object) -> None:
        """As it is posted: `{"ahead_seconds"}`. InvalidInputError. That it goes forward only is the control plane's rule; whoever tells an origin knows the log."""
        if not isinstance(document, dict) or document.keys() != {"ahead_seconds"}:
            raise InvalidInputError("a clock is a JSON object with ahead_seconds, and nothing else")
        ahead_seconds = document["ahead_seconds"]
        problem = problem_with(ahead_seconds)
        if problem is not None:
            raise InvalidInputError(problem)
        self.ahead_seconds = float(ahead_seconds)

    def to_json(self) -> dict[str, object]:
        """As it is asked for."""
        return {"ahead_seconds": self.ahead_seconds}
