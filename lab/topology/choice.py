"""Which topology a command is about, as its options say it. Tiny, so that the command line starts at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TopologyChoice:
    """What is not None replaces what the file says."""

    name: str | None = None
    """A file, or one that ships, by its name; None: `default`."""
    loopback: str | None = None
    has_relays: bool | None = None
    seed: int | None = None
