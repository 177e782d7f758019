"""`cdnlab faults inject`, and the short forms `kill`, `stop`, `pause`, `restart`, `cut` and `slow`."""

import json
from collections.abc import Sequence
from pathlib import Path

from lab.agent.client import Document, connect, places_of
from lab.durations import format_duration, parse_duration
from lab.errors import UsageError
from lab.faults.catalogue import find_fault, lease_of
from lab.faults.parameters import read_parameters


def run(*, fault: str, target: str, lease: str | None, given: Sequence[str], is_json: bool, state_dir: Path) -> int:
    """What makes no sense is refused before anybody is asked."""
    row = find_fault(fault)
    parameters = read_parameters(row.parameters, pairs(given))
    lease_seconds = None if lease is None else lease_of(row, parse_duration(lease))
    injected = connect(state_dir).inject(fault, target, lease_seconds, parameters)
    print(json.dumps(injected, indent=2) if is_json else describe(injected))
    return 0


def pairs(given: Sequence[str]) -> dict[str, str]:
    """Of NAME=VALUE; UsageError for anything else, and for a name that is there twice."""
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"{each!r} is no parameter: write NAME=VALUE")
        if name in found:
            raise UsageError(f"{name} is given twice")
        found[name] = value
    return found


def describe(fault: Document) -> str:
    """What was done to whom, and when it heals."""
    done = f"{fault['fault']}: {', '.join(places_of(fault))}"
    if fault["state"] == "healed":
        return f"{done}; done"
    return (
        f"{done}; heals in {format_duration(fault['lease_seconds'])}, or now with `cdnlab faults clear {fault['id']}`"
    )
