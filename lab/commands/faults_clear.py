"""`cdnlab faults clear`: heals now what would heal later."""

import json
from pathlib import Path

from lab.agent.client import AgentClient, Document, connect, places_of
from lab.errors import EXIT_FAILED, UsageError


def run(*, fault_id: str | None, is_all: bool, is_json: bool, state_dir: Path) -> int:
    """Exit status 1 when something of it does not heal."""
    if (fault_id is None) != is_all:
        raise UsageError("say which fault, by its ID in `cdnlab faults show`, or --all")
    cleared = _clear(connect(state_dir), fault_id)
    print(json.dumps({"faults": cleared}, indent=2) if is_json else describe(cleared))
    return EXIT_FAILED if any(each["state"] != "healed" for each in cleared) else 0


def _clear(agent: AgentClient, fault_id: str | None) -> list[Document]:
    return agent.clear_all() if fault_id is None else [agent.clear(fault_id)]


def describe(cleared: list[Document]) -> str:
    return "\n".join(map(_line, cleared)) or "nothing is broken"


def _line(fault: Document) -> str:
    what = f"{fault['id']}, {fault['fault']} at {', '.join(places_of(fault))}"
    if fault["state"] == "healed":
        return f"healed: {what}"
    return f"not healed, and tried again: {what}: {fault['trouble']}"
