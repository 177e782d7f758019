"""The load plan: which distribution, through which router, from which populations, and where results go.

Parsed once, from a JSON file or from single options (each also an environment variable, docs/load.md), into a frozen
value; all problems are reported at once. The raw strings die here.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtests.intensity import Intensity, read_intensity
from loadtests.stages import Stage, peak_users
from loadtests.workload import Population


class PlanError(ValueError):
    """The plan cannot be used; the message names every problem."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    dns: Address
    domain_name: str
    viewer_port: int
    populations: tuple[Population, ...]
    output: Path | None = None
    # How much faster than people the viewers are: every pause is divided by it.
    pace: float = 1.0
    history: Path | None = None
    """The folder to which each request is written down; None: nowhere."""
    intensity: Intensity = field(default_factory=Intensity)
    more_dns: tuple[Address, ...] = ()
    """Routers that are asked when the first one says nothing, in this order."""

    @property
    def users(self) -> int:
        """The most that there are at any time."""
        return self.intensity.users or sum(each.users for each in self.populations)

    def for_run(self, users: int, duration_seconds: float, stages: tuple[Stage, ...]) -> "LoadPlan":
        """So many users for so long; with stages (these, if the plan has none) the plan says so itself."""
        own = self.intensity.stages or stages
        wanted = replace(
            self.intensity,
            stages=own,
            users=peak_users(own) if own else users,
            duration_seconds=duration_seconds if own else None,
        )
        return replace(self, intensity=wanted)

    def with_users(self, users: int | None) -> "LoadPlan":
        """As Locust was told by its own option; stages say themselves how many there are."""
        if users is None or self.intensity.stages:
            return self
        return replace(self, intensity=replace(self.intensity, users=users))

    @property
    def host_header(self) -> str:
        """What a browser sends: the port only when it is not the scheme's own (RFC 9110 section 7.2)."""
        return self.domain_name if self.viewer_port == 80 else f"{self.domain_name}:{self.viewer_port}"

    def to_json(self) -> str:
        populations = [
            {
                "region": each.region,
                "client_subnet": each.client_subnet,
                "users": each.users,
                **({"source": each.source} if each.source else {}),
            }
            for each in self.populations
        ]
        document = {
            "dns": ",".join(str(each) for each in (self.dns, *self.more_dns)),
            "domain_name": self.domain_name,
            "viewer_port": self.viewer_port,
            "populations": populations,
            "output": str(self.output) if self.output is not None else None,
            "history": str(self.history) if self.history is not None else None,
            "pace": self.pace,
            **self.intensity.to_json(),
        }
        return json.dumps(document, indent=2) + "\n"


def parse_address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise PlanError(f"not host:port: {text!r}")
    return Address(host.strip("[]"), int(port))


def _population(entry: Mapping[str, Any]) -> Population:
    source = str(entry.get("source") or "")
    return Population(str(entry["region"]), str(entry["client_subnet"]), int(entry["users"]), source)


def _number_in(value: object) -> float:
    """Also of a text, as options of the command line are; not a number: NaN."""
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def parse_plan(document: Mapping[str, Any]) -> LoadPlan:
    problems = [
        f"{name} is missing" for name in ("dns", "domain_name", "viewer_port", "populations") if not document.get(name)
    ]
    populations: list[Population] = []
    for entry in document.get("populations") or ():
        try:
            populations.append(_population(entry))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"population {entry!r}: {error}")
    routers: list[Address] = [Address("", 0)]
    try:
        routers = [parse_address(each.strip()) for each in str(document.get("dns") or "missing:1").split(",")]
    except PlanError as error:
        problems.append(f"dns: {error}")
    pace = _number_in(document.get("pace") or 1.0)
    if not 0 < pace < math.inf:
        problems.append(f"pace must be a number above 0, not {document.get('pace')!r}")
    intensity, more_problems = read_intensity(document)
    problems.extend(more_problems)
    if intensity.rate is not None and pace != 1:
        problems.append("rate and pace exclude each other: a rate says how often viewers ask")
    if problems:
        raise PlanError("load plan: " + "; ".join(problems))
    output, history = document.get("output"), document.get("history")
    return LoadPlan(
        dns=routers[0],
        more_dns=tuple(routers[1:]),
        domain_name=str(document["domain_name"]).lower().rstrip("."),
        viewer_port=int(document["viewer_port"]),
        populations=tuple(populations),
        output=Path(output) if output else None,
        history=Path(history) if history else None,
        pace=pace,
        intensity=intensity,
    )


def read_plan(path: Path) -> LoadPlan:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(f"load plan {path}: {error}") from error
    if not isinstance(document, dict):
        raise PlanError(f"load plan {path}: not a JSON object")
    return parse_plan(document)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """The options as Locust parsed them; empty means not given. Single options override the file."""

    load_plan: str = ""
    dns: str = ""
    domain: str = ""
    viewer_port: str = ""
    populations: str = ""
    load_output: str = ""
    load_history: str = ""
    pace: str = ""
    rate: str = ""
    profile_options: str = ""

    def plan(self) -> LoadPlan:
        document: dict[str, Any] = {}
        if self.load_plan:
            document = json.loads(read_plan(Path(self.load_plan)).to_json())
        given = {
            "dns": self.dns,
            "domain_name": self.domain,
            "viewer_port": self.viewer_port,
            "output": self.load_output,
            "history": self.load_history,
            "pace": self.pace,
        }
        document |= {name: value for name, value in given.items() if value}
        parts = {"populations": self.populations, "rate": self.rate, "options": self.profile_options}
        for name, text in parts.items():
            try:
                document |= {name: json.loads(text)} if text else {}
            except ValueError as error:
                raise PlanError(f"{name}: {error}") from error
        if not document:
            raise PlanError(
                "no load plan: `cdnlab load-plan > plan.json` writes one for the lab that is up, and --load-plan plan.json takes it; "
                "or give --dns, --domain, --viewer-port and --populations"
            )
        return parse_plan(document)
