"""Scenario files for tests: a good one as a value of Python, changed where a test says, and written as YAML."""

import copy
from pathlib import Path
from typing import Any

import yaml

from lab.scenarios.reader import ACTIONS_MODULE, CONTROL_MODULE, PROBES_MODULE, parse_scenario
from lab.scenarios.scenario import Scenario

SOURCE = Path("mine.yaml")


def action(function: str, *, name: str = "", background: bool = False, **arguments: Any) -> dict[str, Any]:
    """An action of the lab."""
    provider = {"type": "python", "module": ACTIONS_MODULE, "func": function, "arguments": arguments}
    told = {"type": "action", "name": name or function, "provider": provider}
    return told | ({"background": True} if background else {})


def probe(function: str, tolerance: Any = True, **arguments: Any) -> dict[str, Any]:
    """A probe of the lab."""
    provider = {"type": "python", "module": PROBES_MODULE, "func": function, "arguments": arguments}
    return {"type": "probe", "name": function, "tolerance": tolerance, "provider": provider}


def document(*method: dict[str, Any], probes: tuple[dict[str, Any], ...] = (), **extension: Any) -> dict[str, Any]:
    """A whole file; `extension` is laid over the block of the lab."""
    block = {
        "name": "cdnlab",
        "distributions": [{"name": "site", "origin": "origin-1"}],
        "load": [{"profile": "website"}],
    } | extension
    made: dict[str, Any] = {
        "title": "Mine",
        "description": "Nothing happens.",
        "controls": [{"name": "cdnlab", "provider": {"type": "python", "module": CONTROL_MODULE}}],
        "extensions": [{key: value for key, value in block.items() if value is not None}],
        "method": list(method),
    }
    if probes:
        made["steady-state-hypothesis"] = {"title": "all is well", "probes": list(probes)}
    return copy.deepcopy(made)


def dumped(value: Any) -> str:
    """As YAML."""
    return str(yaml.dump(value, Dumper=yaml.CSafeDumper))


def scenario(*method: dict[str, Any], probes: tuple[dict[str, Any], ...] = (), **extension: Any) -> Scenario:
    """What the reader makes of it."""
    return parse_scenario(dumped(document(*method, probes=probes, **extension)), SOURCE)
