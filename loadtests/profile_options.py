"""The options of profiles that have some, each a frozen value that checks itself (docs/load.md has them in words). Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from loadtests.bounded_fields import bounded, field_problems
from loadtests.popular_objects import MOST_OBJECTS, path_problems
from loadtests.workload import WORLDWIDE_SHARE, ZIPF_EXPONENT

MOST_BYTES_A_SECOND = 100_000_000
_PARAMETER = re.compile(r"[A-Za-z0-9_.~-]{1,64}")


class OptionsError(ValueError):
    """The options cannot be used; the message names every problem."""


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Of a profile that has none."""


@dataclass(frozen=True, slots=True)
class ObjectsOptions:
    """Which objects, and how popular they are."""

    path: str = "/pages/{n}.html"
    count: int = bounded(200, 1, MOST_OBJECTS)
    exponent: float = bounded(ZIPF_EXPONENT, 0, 10)
    worldwide_share: float = bounded(WORLDWIDE_SHARE, 0, 1)
    pause_seconds: float = bounded(0.5, 0, 3_600)
    """Between two requests of a user, on average; with a rate the rate says."""

    def __post_init__(self) -> None:
        problems = [*field_problems(self), *self.further_problems()]
        if problems:
            raise OptionsError("; ".join(problems))

    def further_problems(self) -> Iterator[str]:
        """Beside the bounds of each field."""
        yield from path_problems(self.path, self.count if isinstance(self.count, int) else 1)


@dataclass(frozen=True, slots=True)
class FlashCrowdOptions(ObjectsOptions):
    """A few objects that everybody wants."""

    path: str = "/pages/1.html"
    count: int = bounded(1, 1, 3)


@dataclass(frozen=True, slots=True)
class CacheBustingOptions(ObjectsOptions):
    """Requests of an attacker, and a share of normal ones."""

    busting_share: float = bounded(0.9, 0, 1)
    parameter: str = "cb"

    def further_problems(self) -> Iterator[str]:
        yield from ObjectsOptions.further_problems(self)
        if isinstance(self.parameter, str) and not _PARAMETER.fullmatch(self.parameter):
            yield f"parameter must be a name of letters, digits, '_', '.', '~' and '-', not {self.parameter!r}"


@dataclass(frozen=True, slots=True)
class ConditionalOptions(ObjectsOptions):
    """Viewers that have seen much of what they ask for."""

    conditional_share: float = bounded(0.9, 0, 1)
    """Of the requests for objects that this user has seen, so many are sent with If-None-Match."""
    remembered: int = bounded(200, 1, 10_000)


@dataclass(frozen=True, slots=True)
class SlowReadersOptions:
    """How slowly, and for how long. A rate of 0 is no limit."""

    path: str = "/download/4MiB.bin"
    count: int = bounded(1, 1, MOST_OBJECTS)
    send_bytes_per_second: float = bounded(0, 0, MOST_BYTES_A_SECOND)
    read_bytes_per_second: float = bounded(1_000, 0, MOST_BYTES_A_SECOND)
    head_bytes: int = bounded(0, 0, 16_000)
    """The head of the request is padded to so many, so that sending it takes its time."""
    hold_seconds: float = bounded(30, 1, 3_600)
    """Then the rest is sent and read at full speed."""
    pause_seconds: float = bounded(1, 0, 3_600)

    def __post_init__(self) -> None:
        problems = [*field_problems(self), *path_problems(self.path, self.count if isinstance(self.count, int) else 1)]
        if self.send_bytes_per_second == 0 and self.read_bytes_per_second == 0:
            problems.append("send_bytes_per_second and read_bytes_per_second are both 0: nothing would be slow")
        if problems:
            raise OptionsError("; ".join(problems))
