"""How many bytes of a slow client are due when, and headers that give it something to send. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trickle:
    """So many bytes a second until a moment, then as many as there are."""

    bytes_per_second: float
    """0: no limit."""
    began_at: float
    ends_at: float

    def due(self, now: float, done: int, most: int) -> int:
        """How many may go now, of `most`; the first one at once."""
        if self.bytes_per_second == 0 or now >= self.ends_at:
            return most
        return min(most, max(0, 1 + int((now - self.began_at) * self.bytes_per_second) - done))


def padding(head_bytes: int) -> dict[str, str]:
    """Headers of so many bytes, none longer than 1,000."""
    values = [min(1_000, head_bytes - done) for done in range(0, head_bytes, 1_000)]
    names = [f"x-slow-{number}" for number in range(len(values))]
    return {name: "a" * max(1, size - len(name) - 4) for name, size in zip(names, values, strict=True)}
