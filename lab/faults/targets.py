"""Which nodes are meant by `edge-iad89-p1-1`, `role:edge`, `region:eu-central-1/50%`, `role:edge/1?seed=7`, and several with commas. Pure.

Links are link_targets.py's.

A choice without a seed takes the first nodes in the lab's order; with one, those whose hash with the seed is least: the same seed takes the same
nodes in every lab that has them, and one more of them never changes who was taken before.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.errors import UsageError
from lab.faults.fault import Fault
from lab.topology.layout import Role

TERM = re.compile(r"(?P<who>[^/?,]+)(?:/(?P<count>\d{1,6})(?P<percent>%)?(?:\?seed=(?P<seed>\d{1,18}))?)?", re.ASCII)
MOST_CHARACTERS = 4000
_FORMS = (
    "write NODE, role:ROLE, region:REGION or pop:POP, with /50% or /1?seed=7 for some of them, and commas for several"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node, as far as it can be meant."""

    id: str
    role: Role
    region: str
    pop: str


def choose(target: str, nodes: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those that are meant, in the lab's order. UsageError names what was not found and what there is."""
    if len(target) > MOST_CHARACTERS:
        raise UsageError(f"a target has at most {MOST_CHARACTERS} characters")
    chosen = {node.id for term in target.split(",") for node in _of_term(term.strip(), nodes)}
    return tuple(node for node in nodes if node.id in chosen)


def choose_for(fault: Fault, target: str, nodes: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """UsageError, too, when it is nothing for one of them."""
    chosen = choose(target, nodes)
    wrong = [node for node in chosen if node.role not in fault.roles]
    if wrong:
        fitting = [node.id for node in nodes if node.role in fault.roles]
        raise UsageError(
            f"{fault.name} is for {listed(role.value for role in fault.roles)}, and {wrong[0].id} is {wrong[0].role.value}; "
            f"there are {listed(fitting)}"
        )
    return chosen


def _of_term(term: str, nodes: Sequence[Candidate]) -> Sequence[Candidate]:
    match = TERM.fullmatch(term)
    if match is None:
        raise UsageError(f"{term!r} is no target: {_FORMS}")
    found = _of_name(match["who"], nodes)
    chosen = some_of(term, match, [node.id for node in found])
    return [node for node in found if node.id in chosen]


def some_of(term: str, match: "re.Match[str]", found: Sequence[str]) -> Sequence[str]:
    """What the end of a term (`/50%`, `/1?seed=7`, or nothing) leaves of what its beginning has found."""
    if match["count"] is None:
        return found
    count = _count(term, int(match["count"]), len(found) if match["percent"] else None)
    if count > len(found):
        raise UsageError(f"{term!r} wants {count} of {len(found)}: {listed(found)}")
    seed = match["seed"]
    return found[:count] if seed is None else sorted(found, key=lambda name: _draw(int(seed), name))[:count]


def _of_name(who: str, nodes: Sequence[Candidate]) -> Sequence[Candidate]:
    kind, colon, value = who.partition(":")
    if not colon:
        found, there = [node for node in nodes if node.id == who], [node.id for node in nodes]
        return _unless_none(found, f"no node {who!r}", there)
    match kind:
        case "role":
            values = [node.role.value for node in nodes]
        case "region":
            values = [node.region for node in nodes]
        case "pop":
            values = [node.pop for node in nodes]
        case _:
            raise UsageError(f"{who!r} is no target: {_FORMS}")
    found = [node for node, own in zip(nodes, values, strict=True) if own == value and value]
    return _unless_none(found, f"no node has the {kind} {value!r}", values)


def _unless_none(found: Sequence[Candidate], complaint: str, there: Iterable[str]) -> Sequence[Candidate]:
    if not found:
        raise UsageError(f"{complaint}: there are {listed(dict.fromkeys(each for each in there if each))}")
    return found


def _count(term: str, number: int, of: int | None) -> int:
    """`of` is there for a fraction: rounded up, and at least one."""
    if of is None and number:
        return number
    if of is None or not 1 <= number <= 100:
        raise UsageError(f"{term!r}: a fraction is from 1% to 100%, a number at least 1")
    return math.ceil(of * number / 100)


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def listed(names: Iterable[str]) -> str:
    """For a message."""
    return ", ".join(names) or "none"
