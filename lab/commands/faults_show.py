"""`cdnlab faults show`: what is broken now, when it heals, and what does not heal."""

import json
from pathlib import Path

from lab.agent.client import Document, connect, places_of
from lab.commands.status import align
from lab.durations import format_duration
from lab.faults.catalogue import CATALOGUE

_HEADINGS = ("ID", "FAULT", "WHERE", "HEALS", "PARAMETERS")


def run(*, is_json: bool, state_dir: Path) -> int:
    faults = connect(state_dir).faults()
    print(json.dumps({"faults": faults}, indent=2) if is_json else table(faults))
    return 0


def table(faults: list[Document]) -> str:
    if not faults:
        return "nothing is broken"
    rows = [(each["id"], each["fault"], ",".join(places_of(each)), _heals(each), _parameters(each)) for each in faults]
    troubles = [
        f"{each['id']} does not heal: {each['trouble']}{_what_then(each)}" for each in faults if each["trouble"]
    ]
    return "\n".join([*align([_HEADINGS, *rows]), *troubles])


def _heals(fault: Document) -> str:
    match fault["state"]:
        case "injecting":
            return "is being injected"
        case "injected":
            return f"in {format_duration(round(fault['remaining_seconds'], 1))}"
        case "healing":
            return f"tried again in {format_duration(round(fault['remaining_seconds'], 1))}"
        case _:
            return "not any more"


def _what_then(fault: Document) -> str:
    count = f" ({fault['failed_attempts']} attempts)"
    again = f"; given up, `cdnlab faults clear {fault['id']}` tries again" if fault["state"] == "given_up" else ""
    return count + again


def _parameters(fault: Document) -> str:
    known = CATALOGUE[fault["fault"]].parameters if fault["fault"] in CATALOGUE else ()
    return " ".join(f"{each.name}={each.show(fault['parameters'][each.name])}" for each in known)
