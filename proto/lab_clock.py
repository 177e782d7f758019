"""How far a lab's wall clocks are ahead of the true one, as a resource of the log (docs/time-travel.md): its bounds, and how nodes read it. Pure.

Only a node that was started with `--allow-faults` moves its clock. Any other one refuses the resource, by name and with the reason, as whatever it cannot honour.
"""

from typing import Final

from google.protobuf.message import Message

from proto.cdn.v1 import configuration_pb2
from proto.resources import LAB_CLOCK
from proto.served_configuration import Configuration, Kind, UnusableResourceError, Values, reading

MOST_AHEAD_SECONDS: Final = 100.0 * 365 * 86_400
"""A hundred years: dates keep four digits."""

WITHOUT_FAULTS: Final = "this node was started without --allow-faults, so its clock is the true one"


def problem_with(ahead_seconds: object) -> str | None:
    """Why a clock cannot be so far ahead."""
    match ahead_seconds:
        case bool():
            pass
        case int() | float() if 0 <= ahead_seconds <= MOST_AHEAD_SECONDS:
            return None
    return f"the lab's clock is from 0 to {MOST_AHEAD_SECONDS:.0f} seconds (100 years) ahead of the true one"


def ahead_of(configuration: Configuration) -> float:
    """By how many seconds the wall clock of a node that serves from this is ahead."""
    ahead_seconds = configuration.value(LAB_CLOCK)
    return ahead_seconds if isinstance(ahead_seconds, float) else 0.0


def ahead_in(body: bytes | None) -> float:
    """The same of the body that is published, if one is."""
    return 0.0 if body is None else configuration_pb2.LabClock.FromString(body).ahead_seconds


def _read(message: configuration_pb2.LabClock, _references: Values) -> object:
    problem = problem_with(message.ahead_seconds)
    if problem is not None:
        raise UnusableResourceError(problem)
    return message.ahead_seconds


def _refuse(_message: Message, _references: Values) -> object:
    raise UnusableResourceError(WITHOUT_FAULTS)


FOLLOWED: Final = Kind(configuration_pb2.LabClock, reading(configuration_pb2.LabClock, _read))
"""The row of a program whose clock can be moved."""
REFUSED: Final = Kind(configuration_pb2.LabClock, _refuse)
"""The row of one whose clock cannot."""
