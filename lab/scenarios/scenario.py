"""An experiment as a value: which lab, which distributions, who comes, what is done to it, and what must hold. Pure; how it is written is scenario_reader.py's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.checkers.conditions import Condition
from lab.checkers.verdict import Outcome
from lab.scenarios.load_entry import LoadEntry
from lab.scenarios.site import Site
from lab.scenarios.steps import Step

LONGEST_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class NamedStep:
    """One activity of the method."""

    name: str
    step: Step
    is_background: bool


@dataclass(frozen=True, slots=True)
class NamedProbe:
    """A probe of ours that asks for a figure, anywhere in the file."""

    name: str
    figure: str
    place: str


@dataclass(frozen=True, slots=True)
class StopRule:
    """Ends the run when the condition has held for so long: the lab is broken beyond what was meant."""

    condition: Condition
    lasting_seconds: float

    def __str__(self) -> str:
        return f"{self.condition} for {self.lasting_seconds:g} s"


@dataclass(frozen=True, slots=True)
class Watch:
    """An object that each edge is asked for all the time, beside the viewers."""

    path: str
    every_seconds: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a file says. `document` is the file itself as Chaos Toolkit takes it."""

    name: str
    title: str
    description: str
    topology: str
    duration_seconds: float
    sites: tuple[Site, ...]
    loads: tuple[LoadEntry, ...]
    steps: tuple[NamedStep, ...]
    document: Mapping[str, Any]
    source: Path
    rollbacks: tuple[NamedStep, ...] = ()
    """Steps that are done when the others are over, also when one of them has failed."""
    probes: tuple[NamedProbe, ...] = ()
    tags: tuple[str, ...] = ()
    seed: int | None = None
    watch: Watch | None = None
    checkers: object = ()
    """As the file has them; the table of checkers takes it (lab/checkers/catalogue.py)."""
    gates: tuple[Condition, ...] = ()
    stops: tuple[StopRule, ...] = ()
    expects: Outcome = Outcome.VALID

    @property
    def main_site(self) -> Site:
        """The one that viewers and steps mean when they say nothing."""
        return self.sites[0]
