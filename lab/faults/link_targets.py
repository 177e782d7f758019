"""Which links are meant by `link:us-east-1--eu-central-1`, `link:us-east-1--*`, `link:*/50%?seed=7`, `partition:halves`, and several with commas. Pure.

Links are between places: regions, `viewers-REGION`, `operator` (docs/wan.md). What is meant of a link is both its directions or one of them; `forward` is from
the place that the target names first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lab.errors import UsageError
from lab.faults.partitions import PREFIX, parted, read_partition
from lab.faults.targets import MOST_CHARACTERS, TERM, listed, some_of

LINK_PREFIX: Final = "link:"
_FORMS: Final = "write link:A--B, link:A--* or link:*, with /50% or /1?seed=7 for some of them, partition:SHAPE, and commas for several"


class Direction(StrEnum):
    """Along a link."""

    FORWARD = "forward"
    BACKWARD = "backward"


BOTH: Final = "both"
_OTHER: Final = {Direction.FORWARD: Direction.BACKWARD, Direction.BACKWARD: Direction.FORWARD}


@dataclass(frozen=True, slots=True)
class LinkCandidate:
    """A link as the relays know it; its forward direction is from the first end."""

    name: str
    ends: tuple[str, str]


@dataclass(frozen=True, slots=True)
class LinkPart:
    """A link in one direction or in both. As text it is the place of a lease: `A--B`, or `A--B forward`."""

    link: str
    directions: frozenset[Direction]

    def __str__(self) -> str:
        return self.link if len(self.directions) == len(Direction) else f"{self.link} {next(iter(self.directions))}"

    @property
    def paths(self) -> frozenset[tuple[str, Direction]]:
        """What of it a fault takes hold of."""
        return frozenset((self.link, each) for each in self.directions)


def read_part(text: str) -> LinkPart:
    """Of a place of a lease."""
    link, _, word = text.partition(" ")
    return LinkPart(link, frozenset((Direction(word),)) if word else frozenset(Direction))


def choose_links(target: str, links: Sequence[LinkCandidate], direction: str) -> tuple[LinkPart, ...]:
    """Those that are meant, in the relays' order. UsageError names what was not found and what there is."""
    if len(target) > MOST_CHARACTERS:
        raise UsageError(f"a target has at most {MOST_CHARACTERS} characters")
    found: dict[str, set[Direction]] = {}
    for term in target.split(","):
        for link, own in _of_term(term.strip(), links, direction):
            found.setdefault(link, set()).add(own)
    return tuple(LinkPart(link.name, frozenset(found[link.name])) for link in links if link.name in found)


def choose_partition(target: str, links: Sequence[LinkCandidate]) -> tuple[LinkPart, ...]:
    """What a partition cuts; `partition:` may be left out where nothing else is possible."""
    return choose_links(target if target.startswith(PREFIX) else f"{PREFIX}{target}", links, BOTH)


def _of_term(term: str, links: Sequence[LinkCandidate], direction: str) -> Iterable[tuple[str, Direction]]:
    if term.startswith(PREFIX):
        if direction != BOTH:
            raise UsageError(f"{term!r} says itself which directions it is about: leave out direction={direction}")
        ends = {link.name: link.ends for link in links}
        paths = parted(read_partition(term), ends)
        return [(name, Direction.FORWARD if is_forward else Direction.BACKWARD) for name, is_forward in paths]
    match = TERM.fullmatch(term)
    if match is None or not term.startswith(LINK_PREFIX):
        raise UsageError(f"{term!r} is no target for a fault of links: {_FORMS}")
    found = dict(_of_name(match["who"].removeprefix(LINK_PREFIX), links))
    if not found:
        raise UsageError(f"no link {match['who']!r}: there are {listed(link.name for link in links)}")
    chosen = some_of(term, match, list(found))
    return [(name, way) for name in chosen for way in _directions(direction, is_turned=found[name])]


def _directions(direction: str, *, is_turned: bool) -> Iterator[Direction]:
    for each in Direction:
        if direction in (BOTH, each):
            yield _OTHER[each] if is_turned else each


def _of_name(who: str, links: Sequence[LinkCandidate]) -> Iterator[tuple[str, bool]]:
    """Names of links, and whether they are written the other way round. `A--*` are the links to other places, not the one of A with itself."""
    for link in links:
        one, other = link.ends
        if who in ("*", f"{one}--{other}"):
            yield link.name, False
        elif who == f"{other}--{one}":
            yield link.name, True
        elif one != other and who in (f"{one}--*", f"*--{other}"):
            yield link.name, False
        elif one != other and who in (f"{other}--*", f"*--{one}"):
            yield link.name, True
