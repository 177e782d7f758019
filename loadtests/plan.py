"""The load plan: which distribution, through which router, from which populations, and where results go.

Parsed once, from a JSON file or from single options (each also an environment variable, docs/load.md), into a frozen
value; all problems are reported at once. The raw strings die here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
            "dns": str(self.dns),
            "domain_name": self.domain_name,
            "viewer_port": self.viewer_port,
            "populations": populations,
            "output": str(self.output) if self.output is not None else None,
            "pace": self.pace,
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
    dns = Address("", 0)
    try:
        dns = parse_address(str(document.get("dns") or "missing:1"))
    except PlanError as error:
        problems.append(f"dns: {error}")
    pace = float(document.get("pace") or 1.0)
    if pace <= 0:
        problems.append(f"pace must be above 0, not {pace}")
    if problems:
        raise PlanError("load plan: " + "; ".join(problems))
    output = document.get("output")
    return LoadPlan(
        dns=dns,
        domain_name=str(document["domain_name"]).lower().rstrip("."),
        viewer_port=int(document["viewer_port"]),
        populations=tuple(populations),
        output=Path(output) if output else None,
        pace=pace,
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
    pace: str = ""

    def plan(self) -> LoadPlan:
        document: dict[str, Any] = {}
        if self.load_plan:
            document = json.loads(read_plan(Path(self.load_plan)).to_json())
        given = {
            "dns": self.dns,
            "domain_name": self.domain,
            "viewer_port": self.viewer_port,
            "output": self.load_output,
            "pace": self.pace,
        }
        document |= {name: value for name, value in given.items() if value}
        if self.populations:
            try:
                document["populations"] = json.loads(self.populations)
            except ValueError as error:
                raise PlanError(f"populations: {error}") from error
        if not document:
            raise PlanError(
                "no load plan: `cdnlab load-plan > plan.json` writes one for the lab that is up, and --load-plan plan.json takes it; "
                "or give --dns, --domain, --viewer-port and --populations"
            )
        return parse_plan(document)
