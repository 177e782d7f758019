"""What the options of a run say that its scenario does not. Tiny, so that the command line starts at once."""

from dataclasses import dataclass, field
from pathlib import Path

from lab.runner import Runner
from lab.topology.choice import TopologyChoice


@dataclass(frozen=True, slots=True)
class RunOptions:
    """None: as the scenario says; of the folder: a new one below runs/."""

    state_dir: Path
    directory: Path | None = None
    runner: Runner = Runner.PROCESSES
    topology: TopologyChoice = field(default_factory=TopologyChoice)
    duration_seconds: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class ShrinkChoice:
    """How `cdnlab shrink` is to search, as it was typed."""

    checks: tuple[str, ...]
    """Those that must fail again; none: all that failed."""
    most: int
    tries: int
    within: str
    loopback: str | None
