"""Reduces a scenario that fails to the fewest steps, the shortest time and the fewest viewers that still make it fail. Pure: whether one fails is asked of somebody else.

Delta debugging: the steps of the method in ever smaller pieces (ddmin, Zeller and Hildebrandt, 2002), entries and users of the load, the duration. What a
smaller one leaves out is left out of the experiment's document, so that what remains is a file like any other.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lab.durations import parse_duration
from lab.errors import UsageError
from lab.scenarios.reader import EXTENSION

Document = Mapping[str, Any]
Fails = Callable[[Document], bool]
SHORTEST_SECONDS: Final = 5.0
LOWEST_RATE: Final = 1.0
_HALF: Final = 2.0


@dataclass(slots=True)
class Search:
    """Asks whether a document fails, each only once, `most` times at most, and no more once it is over."""

    fails: Fails
    most: int
    is_over: Callable[[], bool] = lambda: False
    asked: int = 0
    _known: dict[str, bool] = field(default_factory=dict)

    def __call__(self, document: Document) -> bool:
        """False, too, when there is no more to be asked."""
        key = repr(document)
        if key not in self._known:
            if self.asked >= self.most or self.is_over():
                return False
            self.asked += 1
            self._known[key] = self.fails(document)
        return self._known[key]


def shrink(document: Document, search: Search, duration_seconds: float | None) -> Document:
    """The smallest that was found; the document itself when nothing smaller fails. `duration_seconds`: as it says, None: it is not to be made shorter."""
    smallest = _fewer_loads(_fewer_steps(document, search), search)
    if duration_seconds is not None:
        smallest = _shorter(smallest, search, duration_seconds)  # before users: it makes all that follows faster
    return _fewer_users(smallest, search)


def _fewer_steps(document: Document, search: Search) -> Document:
    """ddmin over the activities of the method."""
    steps: list[Any] = list(document["method"])
    pieces = 2
    while len(steps) >= 1:
        size = max(1, len(steps) // pieces)
        for without in _without_each(steps, size):
            if search(_with_steps(document, without)):
                steps, pieces = without, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(steps), pieces * 2)
    return _with_steps(document, steps)


def _without_each(steps: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for begin in range(0, len(steps), size):
        yield [*steps[:begin], *steps[begin + size :]]


def _with_steps(document: Document, steps: list[Any]) -> Document:
    return {**document, "method": steps}


def _fewer_loads(document: Document, search: Search) -> Document:
    """Whole entries of the load, one after the other."""
    smallest = document
    for entry in list(extension_of(document).get("load", [])):
        kept = [each for each in extension_of(smallest)["load"] if each != entry]
        candidate = with_extension(smallest, {"load": kept})
        if kept and search(candidate):
            smallest = candidate
    return smallest


def _fewer_users(document: Document, search: Search) -> Document:
    """Half as many, asking half as often, and so on; entries that say nothing of users and of a rate stay as they are."""
    smallest = document
    while True:
        loads = extension_of(smallest).get("load", [])
        halved = [_halved(each) for each in loads]
        candidate = with_extension(smallest, {"load": halved})
        if halved == loads or not search(candidate):
            return smallest
        smallest = candidate


def _halved(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """One user asks as often as it does: nothing is gained by waiting longer for it to fail."""
    users, rate = entry.get("users"), entry.get("rate")
    if users == 1:
        return entry
    half: dict[str, Any] = {} if users is None else {"users": max(1, int(users / _HALF))}
    if rate is not None:
        half["rate"] = max(LOWEST_RATE, rate / _HALF)
    return {**entry, **half}


def _shorter(document: Document, search: Search, duration_seconds: float) -> Document:
    """Half the time, and so on, steps with it."""
    smallest, seconds = document, duration_seconds
    while seconds / _HALF >= SHORTEST_SECONDS:
        candidate = scaled(smallest, 1 / _HALF, seconds / _HALF)
        if not search(candidate):
            return smallest
        smallest, seconds = candidate, seconds / _HALF
    return smallest


def scaled(document: Document, by: float, seconds: float) -> Document:
    """The times of steps and of the load, and how long viewers come. Leases stay: they are measured in leases of nodes, which stay as well."""
    made = copy.deepcopy(dict(document))
    for step in made["method"]:
        _scale(step.get("provider", {}).get("arguments", {}), ("at",), by)
        _scale(step.get("pauses", {}), ("before", "after"), by)
    loads = copy.deepcopy(list(extension_of(document).get("load", [])))
    for entry in loads:
        _scale(entry, ("begins", "lasts"), by)
        for stage in entry.get("stages", []):
            _scale(stage, ("at",), by)
    return with_extension(made, {"load": loads, "duration": seconds})


def _scale(values: dict[str, Any], names: Sequence[str], by: float) -> None:
    """Durations among them; what is none is for who reads the file to refuse."""
    for name in names:
        value = values.get(name)
        try:
            seconds = parse_duration(value) if isinstance(value, str) else value
        except UsageError:
            continue
        if isinstance(seconds, int | float):
            values[name] = seconds * by


def extension_of(document: Document) -> Mapping[str, Any]:
    """The block that is ours."""
    found: Mapping[str, Any] = next(each for each in document["extensions"] if each.get("name") == EXTENSION)
    return found


def with_extension(document: Document, change: Mapping[str, Any]) -> Document:
    """The document with values of that block changed."""
    blocks = [{**each, **change} if each.get("name") == EXTENSION else each for each in document["extensions"]]
    return {**document, "extensions": blocks}
