"""One mapping of a YAML file, read key by key: types, missing and unknown keys, each problem with its line.

Works on the node tree that libyaml composes, which has the line of every value; nothing is constructed but what is asked for.
It knows nothing of topologies.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import yaml

from lab.topology.problems import Problem

LARGEST_PORT = 65535
LONGEST_SECONDS = 3600
_INTEGER = re.compile(r"-?[0-9]{1,12}")
_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")
_TAG = "tag:yaml.org,2002:"
_KINDS = {"str": "text", "int": "a number", "float": "a number", "bool": "true or false", "null": "nothing"}
_TRUE_WORDS = ("true", "yes", "on")

Part = TypeVar("Part")


@dataclass(slots=True)
class Section:
    """One mapping of the file. Asking for a key makes it known; `finish` reports the others."""

    node: yaml.Node
    what: str
    problems: list[Problem]
    values: dict[str, yaml.Node] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not isinstance(self.node, yaml.MappingNode):
            self.report(f"{self.what} must be `key: value` pairs, not {_kind(self.node)}", self.node)
            return
        for key, value in self.node.value:
            name = str(key.value)
            if name in self.values:
                self.report(f"key {name!r} is there twice: first on line {self.lines[name]}", key)
            self.values.setdefault(name, value)
            self.lines.setdefault(name, line_of(key))

    @property
    def line(self) -> int:
        return line_of(self.node)

    def report(self, message: str, node: yaml.Node | None = None) -> None:
        """A problem, at `node` or at the beginning of the section."""
        self.problems.append(Problem(line_of(node or self.node), message))

    def text(self, key: str, default: str | None = None) -> str:
        """Text that is not empty; a key without a default is required."""
        node = self._find(key)
        if node is None and default is None:
            self.report(f"{key} is missing in {self.what}")
        if node is not None and node.tag == f"{_TAG}str" and node.value.strip():
            return str(node.value)
        if node is not None:
            self.report(f"{key} must be text, not {_kind(node)}", node)
        return default or ""

    def integer(self, key: str, default: int, lowest: int, highest: int) -> int:
        node = self._find(key)
        if node is None:
            return default
        if node.tag != f"{_TAG}int" or not _INTEGER.fullmatch(node.value):
            said = node.value if node.tag == f"{_TAG}float" else f"{_kind(node)}{_unquoting(node)}"
            self.report(f"{key} must be a whole number, not {said}", node)
        elif not lowest <= int(node.value) <= highest:
            self.report(f"{key} must be from {lowest} to {highest}, not {node.value}", node)
        else:
            return int(node.value)
        return default

    def number(self, key: str, default: float, highest: float) -> float:
        """From 0 on, whole or not."""
        node = self._find(key)
        value = default if node is None else number_in(node)
        if value is not None and 0 <= value <= highest:
            return value
        if node is not None:
            self.report(f"{key} must be a number from 0 to {highest:g}, not {_kind(node)}", node)
        return default

    def number_if_any(self, key: str, highest: float) -> float | None:
        """The same where nothing is said when the key is not there."""
        if key in self.values:
            return self.number(key, 0.0, highest)
        self.known.append(key)
        return None

    def words(self, key: str, count: int) -> tuple[str, ...]:
        """A list of so many words; empty ones where it is something else, which is reported."""
        found = [str(node.value) for node in self.items(key) if isinstance(node, yaml.ScalarNode)]
        if len(found) == count:
            return tuple(found)
        self.report(f"{key} must be a list of {count} names, as in [one, other]", self.values.get(key))
        return ("",) * count

    def choice(self, key: str, default: str, words: Sequence[str]) -> str:
        """One of some words."""
        node = self._find(key)
        if node is None:
            return default
        if node.tag == f"{_TAG}str" and node.value in words:
            return str(node.value)
        near = _nearest(str(node.value).lower(), words) if isinstance(node, yaml.ScalarNode) else ""
        self.report(f"{key} must be one of {', '.join(words)}, not {_kind(node)}{near}", node)
        return default

    def port(self, key: str, default: int) -> int:
        return self.integer(key, default, 1, LARGEST_PORT)

    def seconds(self, key: str, default: float) -> float:
        node = self._find(key)
        value = default if node is None else number_in(node)
        if value is not None and 0 < value <= LONGEST_SECONDS:
            return value
        if node is not None:
            self.report(f"{key} must be a number of seconds up to {LONGEST_SECONDS}, not {_kind(node)}", node)
        return default

    def flag(self, key: str, default: bool) -> bool:
        node = self._find(key)
        if node is not None and node.tag == f"{_TAG}bool":
            return str(node.value).lower() in _TRUE_WORDS
        if node is not None:
            self.report(f"{key} must be true or false, not {_kind(node)}", node)
        return default

    def section(self, key: str) -> "Section | None":
        node = self._find(key)
        return None if node is None else Section(node, key, self.problems)

    def sections(self, key: str, read: Callable[["Section"], Part]) -> tuple[Part, ...]:
        """A list of mappings; each is read and checked for unknown keys."""
        parts = []
        for node in self.items(key):
            section = Section(node, f"each of {key}", self.problems)
            if isinstance(node, yaml.MappingNode):
                parts.append(read(section))
                section.finish()
        return tuple(parts)

    def items(self, key: str) -> Sequence[yaml.Node]:
        node = self._find(key)
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        if node is not None:
            self.report(f"{key} must be a list, not {_kind(node)}", node)
        return ()

    def is_word(self, key: str, word: str) -> bool:
        """Whether a key that is otherwise a list is this word."""
        node = self.values.get(key)
        return isinstance(node, yaml.ScalarNode) and node.value == word

    def finish(self) -> None:
        """Reports every key that was never asked for."""
        for key, line in self.lines.items():
            if key not in self.known:
                self.problems.append(Problem(line, f"unknown key {key!r} in {self.what}{_suggestion(key, self.known)}"))

    def _find(self, key: str) -> yaml.Node | None:
        self.known.append(key)
        return self.values.get(key)


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def number_in(node: yaml.Node) -> float | None:
    """The number that a node is, if it is one."""
    is_number = node.tag in (f"{_TAG}int", f"{_TAG}float") and _NUMBER.fullmatch(node.value)
    return float(node.value) if is_number else None


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "`key: value` pairs"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    kind = _KINDS.get(node.tag.removeprefix(_TAG), "this")
    return kind if kind == "nothing" else f"{kind} ({node.value})"


def _unquoting(node: yaml.Node) -> str:
    """What to do about a number that is text only because it is quoted."""
    is_quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"') and _INTEGER.fullmatch(node.value)
    return "; write it without quotes" if is_quoted else ""


def _suggestion(key: str, known: Sequence[str]) -> str:
    return _nearest(key, known) or f"; there are {', '.join(known)}"


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
