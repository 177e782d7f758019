"""What a link should measure, what it does, and whether it is off: by more than 10 % and by more than 3 ms, beyond what chance explains. Pure."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lab.wan.links import Link, Path

TOLERANCE: Final = 0.1
TOLERANCE_SECONDS: Final = 0.003
DEVIATIONS: Final = 4.0
"""Of chance, for which an honest link is named once in 15,000 checks."""
_MEDIAN_DEVIATION: Final = 1.2533
"""The standard error of a median is so many times that of a mean, in a normal distribution."""
LEAST_COUNTED_LOSS: Final = 0.002
FLOOD_SECONDS: Final = 0.25
LONGEST_FLOOD_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured of one direction."""

    delays: Sequence[float]
    """Seconds, of the datagrams that came."""
    sent: int
    """Datagrams."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One property of one link."""

    link: str
    direction: str
    what: str
    """`delay`, `handshake`, `bandwidth` or `loss`."""
    unit: str
    asked: float
    measured: float
    allowed: float
    """The difference that is still right."""

    @property
    def is_off(self) -> bool:
        """A run over this link would report wrong figures; so would one that could not be measured."""
        return not abs(self.measured - self.asked) <= self.allowed

    def to_json(self) -> dict[str, object]:
        """With the verdict; what was not measured is null."""
        measured = None if math.isnan(self.measured) else round(self.measured, 4)
        return {
            "link": self.link,
            "direction": self.direction,
            "what": self.what,
            "unit": self.unit,
            "asked": round(self.asked, 4),
            "measured": measured,
            "allowed": round(self.allowed, 4),
            "is_off": self.is_off,
        }


def samples_needed(path: Path) -> int:
    """Datagrams, so that chance is small beside the tolerance; within bounds, since they take time."""
    allowed = max(TOLERANCE_SECONDS, TOLERANCE * path.delay_seconds)
    of_jitter = (2 * DEVIATIONS * _MEDIAN_DEVIATION * path.jitter_seconds / allowed) ** 2
    of_loss = 100 / path.loss if path.loss >= LEAST_COUNTED_LOSS else 0
    return int(min(1_000, max(20, of_jitter, of_loss)))


def flood_seconds(path: Path) -> float:
    """How long a bandwidth is measured: jitter blurs both ends of that."""
    return min(LONGEST_FLOOD_SECONDS, max(FLOOD_SECONDS, 15 * path.jitter_seconds))


def judge_delays(link: Link, direction: str, path: Path, samples: Samples) -> Iterator[Measurement]:
    """Delay and loss of one direction."""
    yield _delay(link, direction, path, samples)
    if path.loss >= LEAST_COUNTED_LOSS:
        yield _loss(link, direction, path, samples)


def judge_rates(link: Link, forward: float, backward: float) -> tuple[Measurement, ...]:
    """The bandwidths of a link, where it has one; measured in bytes a second."""
    ways = (("forward", link.forward, forward), ("backward", link.backward, backward))
    return tuple(_rate(link, direction, path, rate) for direction, path, rate in ways if path.bytes_per_second)


def judge_handshake(link: Link, seconds: float) -> Measurement:
    """From a client's connect to the answer to its first byte: twice there and twice back."""
    asked = 2 * (link.forward.delay_seconds + link.backward.delay_seconds)
    jitter = math.sqrt(2 * (link.forward.jitter_seconds**2 + link.backward.jitter_seconds**2))
    allowed = max(2 * TOLERANCE_SECONDS, TOLERANCE * asked) + DEVIATIONS * jitter
    return Measurement(link.name, "both", "handshake", "ms", asked * 1000, seconds * 1000, allowed * 1000)


def _rate(link: Link, direction: str, path: Path, bytes_per_second: float) -> Measurement:
    asked, measured = path.bytes_per_second * 8 / 1e6, bytes_per_second * 8 / 1e6
    chance = DEVIATIONS * 1.5 * path.jitter_seconds / flood_seconds(path)
    return Measurement(link.name, direction, "bandwidth", "Mbit/s", asked, measured, (TOLERANCE + chance) * asked)


def _delay(link: Link, direction: str, path: Path, samples: Samples) -> Measurement:
    asked, count = path.median_delay_seconds, len(samples.delays)
    measured = statistics.median(samples.delays) if count else math.nan
    chance = DEVIATIONS * _MEDIAN_DEVIATION * path.jitter_seconds / math.sqrt(count) if count else 0.0
    allowed = max(TOLERANCE_SECONDS, TOLERANCE * asked) + chance
    return Measurement(link.name, direction, "delay", "ms", asked * 1000, measured * 1000, allowed * 1000)


def _loss(link: Link, direction: str, path: Path, samples: Samples) -> Measurement:
    sent = max(1, samples.sent)
    measured = 1 - len(samples.delays) / sent
    chance = DEVIATIONS * math.sqrt(path.loss * (1 - path.loss) / sent)
    allowed = TOLERANCE * path.loss + chance
    return Measurement(link.name, direction, "loss", "%", path.loss * 100, measured * 100, allowed * 100)
