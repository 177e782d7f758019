"""What a `lab.json` that this version cannot read still says: by what every version has written, wherever it stands in there. Pure.

It is enough to end a lab, and not to do anything else with it: a process by pid and start (so never anybody else's), the token that all of them carry, and
the Compose project.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from lab.cluster.process_identity import ProcessIdentity

_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Remains:
    """Empty where nothing is known."""

    token: str = ""
    project: str = ""
    processes: tuple[ProcessIdentity, ...] = ()


def read_remains(text: str) -> Remains:
    """Of any text at all. The command that was starting it, or ending it, is none of its processes."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Remains()
    if not isinstance(document, dict):
        return Remains()
    processes = _identities({name: value for name, value in document.items() if name != "starter"}, _DEEPEST)
    return Remains(_text(document.get("token")), _text(document.get("project")), tuple(processes))


def _identities(value: object, depth: int) -> Iterator[ProcessIdentity]:
    match value:
        case {"pid": int(pid), "started": str(started)} if pid > 0:
            yield ProcessIdentity(pid, started)
        case dict() | list() if depth:
            for each in value.values() if isinstance(value, dict) else value:
                yield from _identities(each, depth - 1)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
