"""Links between the places of a topology: what a file says of them, and what follows from where the places are. Pure values.

A *place* is a region, a population of viewers, or the desk of whoever runs the lab. The delay between two regions is that of glass over the great circle
(geography.py); viewers have their last mile before it. What a file gives replaces what is derived. What becomes of it on the wire is lab/wan's.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from lab.topology.problems import Problem

OPERATOR: Final = "operator"
"""The place of whoever runs the lab: programs on this machine that bind no address, such as curl. It is where the default region's viewers are."""
VIEWERS_PREFIX: Final = "viewers-"
LINK_JOINT: Final = "--"
"""In the name of a link, between its ends."""
LONGEST_ROUND_TRIP_MILLISECONDS: Final = 10_000.0
MOST_LOSS_PERCENT: Final = 50.0
MOST_MBIT: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class PathValues:
    """One direction of a link, in the units of docs/wan.md."""

    delay_ms: float
    jitter_ms: float = 0.0
    distribution: str = "normal"
    loss_percent: float = 0.0
    bandwidth_mbit: float = 0.0
    """0: unlimited."""

    def after(self, first: "PathValues") -> "PathValues":
        """Both, one after the other: a last mile and what lies beyond it. The delays are of the first's kind."""
        rates = [each.bandwidth_mbit for each in (first, self) if each.bandwidth_mbit]
        kept = (1 - first.loss_percent / 100) * (1 - self.loss_percent / 100)
        return PathValues(
            delay_ms=round(first.delay_ms + self.delay_ms, 3),
            jitter_ms=round(math.hypot(first.jitter_ms, self.jitter_ms), 3),
            distribution=first.distribution,
            loss_percent=round((1 - kept) * 100, 6),
            bandwidth_mbit=min(rates, default=0.0),
        )


@dataclass(frozen=True, slots=True)
class LinkValues:
    """Between two places; `forward` leads from the first to the second."""

    between: tuple[str, str]
    forward: PathValues
    backward: PathValues

    @property
    def round_trip_ms(self) -> float:
        return self.forward.delay_ms + self.backward.delay_ms


@dataclass(frozen=True, slots=True)
class LastMile:
    """From a viewer to the nearest exchange. Delay and jitter are of one way. The bandwidth is that of the access node, which the viewers of a population share."""

    up: PathValues
    down: PathValues


def _last_mile(delay: PathValues, up_mbit: float, down_mbit: float) -> LastMile:
    return LastMile(
        dataclasses.replace(delay, bandwidth_mbit=up_mbit), dataclasses.replace(delay, bandwidth_mbit=down_mbit)
    )


# Round trips to the first hop beyond the access network: about 4, 12 and 40 ms are what access measurements of regulators find for fibre, cable and
# 4G. A geostationary satellite is 35,786 km above the equator: up and down is 240 ms, each way, and the ground stations add to it.
LAST_MILES: Final = {
    "fibre": _last_mile(PathValues(2.0, 0.2), 0, 0),
    "cable": _last_mile(PathValues(6.0, 1.5), 100, 1000),
    "4g": _last_mile(PathValues(20.0, 6.0, "pareto", 0.05), 50, 150),
    "satellite": _last_mile(PathValues(270.0, 8.0, "normal", 0.3), 5, 50),
}
DEFAULT_LAST_MILE: Final = "fibre"


@dataclass(frozen=True, slots=True)
class GivenLink:
    """What a file says of one link; None: as derived. The jitter is the standard deviation of one way."""

    between: tuple[str, str]
    round_trip_ms: float | None = None
    jitter_ms: float | None = None
    loss_percent: float | None = None
    bandwidth_mbit: float | None = None
    line: int = field(default=0, compare=False)

    @property
    def ends(self) -> frozenset[str]:
        """The same from both sides."""
        return frozenset(self.between)

    def problems(self) -> Iterator[Problem]:
        """What makes no sense in itself."""
        if (self.round_trip_ms, self.jitter_ms, self.loss_percent, self.bandwidth_mbit) == (None,) * 4:
            yield Problem(
                self.line,
                "nothing is said of this link but `between`: "
                "give round_trip_ms, jitter_ms, loss_percent or bandwidth_mbit, or leave it out",
            )
        if self.round_trip_ms is not None and (self.jitter_ms or 0) > self.round_trip_ms / 2:
            yield Problem(
                self.line, f"jitter_ms {self.jitter_ms:g}: more than half of the round trip, which is one way"
            )

    def replace(self, path: PathValues) -> PathValues:
        """One direction, with what is given in the place of what was derived."""
        delay = path.delay_ms if self.round_trip_ms is None else self.round_trip_ms / 2
        jitter = path.jitter_ms if self.jitter_ms is None else self.jitter_ms
        return PathValues(
            delay_ms=delay,
            jitter_ms=min(jitter, delay),
            distribution=path.distribution,
            loss_percent=path.loss_percent if self.loss_percent is None else self.loss_percent,
            bandwidth_mbit=path.bandwidth_mbit if self.bandwidth_mbit is None else self.bandwidth_mbit,
        )
