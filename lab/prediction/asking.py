"""What `cdnlab predict` was asked for, as it was typed. Tiny, so that the command line starts at once."""

from dataclasses import dataclass, field
from pathlib import Path

from lab.load_profiles import LoadChoice


@dataclass(frozen=True, slots=True)
class WhatIfChoice:
    """Each value of each option, in the words of the command line; nothing of it is checked."""

    memory: list[str] = field(default_factory=list)
    regional_memory: list[str] = field(default_factory=list)
    policy: list[str] = field(default_factory=list)
    ttl: list[float] = field(default_factory=list)
    pops: list[int] = field(default_factory=list)
    regional: list[str] = field(default_factory=list)
    shield: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PredictionChoice:
    """Which requests, where, and what of it is to be compared."""

    load: LoadChoice
    """Its profile may be the path of a trace."""
    topology: str | None
    seed: int
    trace_format: str
    invalidate: list[str]
    """`SECONDS:PATH`, each."""
    what_if: WhatIfChoice
    plot: Path | None = None
