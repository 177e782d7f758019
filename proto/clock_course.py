"""How clocks run that are off: a wall clock that somebody has set, and an oscillator that is too fast or too slow. Pure: what the true clocks say is an argument.

Both clocks of a machine are driven by one oscillator, so a drift moves both. A steady clock never goes back: what it has gained it keeps when the drift is over. A wall
clock is set right then, as NTP would.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClockCourse:
    """From a moment on. All times are in seconds, `now` is that of the true steady clock."""

    offset: float = 0.0
    """Of the wall clock."""
    rate: float = 0.0
    """What both clocks gain in each second; negative: they lose it. Above -1, or they would stand still."""
    began_at: float = 0.0
    """Of this rate."""
    gained_before: float = 0.0
    """By the steady clock."""

    def with_offset(self, offset: float) -> "ClockCourse":
        """Somebody sets the wall clock, or sets it right."""
        return ClockCourse(offset, self.rate, self.began_at, self.gained_before)

    def with_rate(self, rate: float, now: float) -> "ClockCourse":
        """The oscillator changes; from 0 on it is right."""
        return ClockCourse(self.offset, rate, now, self.gained_before + self._gained_since(now))

    def steady(self, now: float) -> float:
        """What the steady clock says."""
        return now + self.gained_before + self._gained_since(now)

    def true_steady(self, steady: float) -> float:
        """What the true steady clock said when this one said so."""
        return (steady - self.gained_before + self.began_at * self.rate) / (1.0 + self.rate)

    def wall(self, true_wall: float, now: float) -> float:
        """What the wall clock says."""
        return true_wall + self.offset + self._gained_since(now)

    def _gained_since(self, now: float) -> float:
        return (now - self.began_at) * self.rate
