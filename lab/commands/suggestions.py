"""What a shell may complete to: quickly, from the state folder and one short question to the control plane. What cannot be known is left out.

Only labs of processes leave in their folder what can be read at once; nobody waits for a container engine at each key.
"""

import json
from pathlib import Path
from typing import Any

from lab.clients.http_client import UnreachableError, get_json
from lab.commands.agent_line import look_at_agent
from lab.errors import LabError
from lab.faults.catalogue import CATALOGUE
from lab.history.run_folders import LATEST, RUNS
from lab.history.schema import TABLES
from lab.load_profiles import PROFILES
from lab.scenarios.shipped import shipped_scenarios

LOOK_SECONDS = 0.3
_CACHE_ROLES = ("edge", "regional")

Parameters = dict[str, Any]
"""What is on the command line already."""


def nodes(given: Parameters) -> list[str]:
    return [each["id"] for each in _nodes(given)]


def caches(given: Parameters) -> list[str]:
    return [each["id"] for each in _nodes(given) if each["role"] in _CACHE_ROLES]


def targets(given: Parameters) -> list[str]:
    """Nodes, and groups of them."""
    found = _nodes(given)
    groups = {f"{name}:{each[name]}" for each in found for name in ("role", "region", "pop") if each[name]}
    return [*(each["id"] for each in found), *sorted(groups)]


def distributions(given: Parameters) -> list[str]:
    return [each["id"] for each in _distributions(given)]


def urls(given: Parameters) -> list[str]:
    """Without a scheme: to some shells a colon begins another word."""
    return [f"{each['domain_name']}/" for each in _distributions(given)]


def faults(_given: Parameters) -> list[str]:
    return list(CATALOGUE)


def parameters(given: Parameters) -> list[str]:
    """Of the fault that has been named."""
    fault = CATALOGUE.get(str(given.get("fault")))
    return [f"{each.name}=" for each in fault.parameters] if fault is not None else []


def faults_in_force(given: Parameters) -> list[str]:
    try:
        agent = look_at_agent(_folder(given))
    except LabError:
        return []
    return [each["id"] for each in agent.faults] if agent is not None else []


def profiles(_given: Parameters) -> list[str]:
    return list(PROFILES)


def scenarios(_given: Parameters) -> list[str]:
    return list(shipped_scenarios())


def runs(_given: Parameters) -> list[str]:
    try:
        return [LATEST, *sorted(path.name for path in RUNS.iterdir() if path.is_dir())]
    except OSError:
        return []


def history_tables(_given: Parameters) -> list[str]:
    return [table.name for table in TABLES]


def _folder(given: Parameters) -> Path:
    return Path(given.get("state") or ".cdnlab")


def _nodes(given: Parameters) -> list[dict[str, Any]]:
    """As lab.json has them; reading it as a whole would take longer than a person waits for a key."""
    try:
        document = json.loads((_folder(given) / "lab.json").read_text(encoding="utf-8"))
        return [each for each in document.get("nodes", []) if {"id", "role", "region", "pop", "admin"} <= each.keys()]
    except (OSError, ValueError, AttributeError):
        return []


def _distributions(given: Parameters) -> list[dict[str, Any]]:
    admin = next((each["admin"] for each in _nodes(given) if each["role"] == "control_plane"), "")
    try:
        found: list[dict[str, Any]] = get_json(admin, "/status", LOOK_SECONDS).get("distributions", [])
    except UnreachableError:
        return []
    return found
