"""Values that scenarios are written in, read from one mapping of the file: durations, lists of words, mappings that go on as they are. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from lab.durations import parse_duration
from lab.errors import UsageError
from lab.topology.composing import MOST_DEPTH
from lab.topology.problems import Problem
from lab.topology.sections import Section, line_of, number_in

MOST_VALUES: Final = 100_000
"""Of a file, aliases counted as often as they stand there."""
_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = frozenset(f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "null"))
_COLLECTIONS: Final[Mapping[type[yaml.Node], str]] = {yaml.MappingNode: f"{_TAG}map", yaml.SequenceNode: f"{_TAG}seq"}


def duration(section: Section, key: str, default: float | None) -> float | None:
    """Seconds of `1m30s`, or of a number; the default when nothing is said."""
    if key not in section.values:
        section.known.append(key)
        return default
    node = section.values[key]
    section.known.append(key)
    number = number_in(node)
    if number is not None and number >= 0:
        return number
    try:
        return parse_duration(str(node.value) if isinstance(node, yaml.ScalarNode) else "this")
    except UsageError as error:
        section.report(f"{key}: {error}", node)
        return default


def words(section: Section, key: str) -> tuple[str, ...]:
    """A list of texts; nothing when nothing is said."""
    found = []
    for node in section.items(key):
        if isinstance(node, yaml.ScalarNode) and node.value:
            found.append(str(node.value))
        else:
            section.report(f"each of {key} must be text", node)
    return tuple(found)


def integers(section: Section, key: str) -> tuple[int, ...]:
    """A list of whole numbers."""
    found = []
    for node in section.items(key):
        number = number_in(node)
        if number is not None and number == int(number):
            found.append(int(number))
        else:
            section.report(f"each of {key} must be a whole number", node)
    return tuple(found)


def integer_if_any(section: Section, key: str, lowest: int, highest: int) -> int | None:
    """None when nothing is said."""
    if key in section.values:
        return section.integer(key, lowest, lowest, highest)
    section.known.append(key)
    return None


def text_if_any(section: Section, key: str) -> str:
    """Empty when nothing is said."""
    if key in section.values:
        return section.text(key, "")
    section.known.append(key)
    return ""


def plain_mapping(section: Section, key: str) -> dict[str, Any]:
    """A mapping as YAML has it, for whoever knows its keys; empty when nothing is said."""
    node = section.values.get(key)
    section.known.append(key)
    if node is None:
        return {}
    value = plain(node)
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return value
    section.report(f"{key} must be `key: value` pairs", node)
    return {}


def plain_problems(root: yaml.Node) -> list[Problem]:
    """What keeps a file from being plain values, as JSON has them; only the first of too deep or too large a file."""
    problems: list[Problem] = []
    waiting, seen = [(root, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if depth > MOST_DEPTH or seen > MOST_VALUES:
            what = f"{MOST_DEPTH} levels deep" if depth > MOST_DEPTH else f"{MOST_VALUES} values"
            return [*problems, Problem(line_of(node), f"more than {what}, or an alias inside of what it stands for")]
        if isinstance(node, yaml.ScalarNode):
            problems += _scalar_problems(node)
        elif node.tag != _COLLECTIONS[type(node)]:
            problems.append(Problem(line_of(node), f"the tag {node.tag} is not for scenarios"))
        elif isinstance(node, yaml.MappingNode):
            problems += [_key_problem(key) for key, _ in node.value if not isinstance(key, yaml.ScalarNode)]
            waiting += [
                (each, depth + 1) for pair in node.value for each in pair if isinstance(pair[0], yaml.ScalarNode)
            ]
        else:
            waiting += [(each, depth + 1) for each in node.value]
    return problems


def _key_problem(key: yaml.Node) -> Problem:
    return Problem(line_of(key), "a key must be text")


def _scalar_problems(node: yaml.ScalarNode) -> list[Problem]:
    if node.tag not in _SCALARS:
        return [
            Problem(
                line_of(node),
                f"{node.value[:40]!r} is of the type {node.tag.removeprefix(_TAG)}: write it in quotes if it is text",
            )
        ]
    try:
        plain(node)
    except (yaml.YAMLError, ValueError, LookupError, OverflowError):
        return [Problem(line_of(node), f"{node.value[:40]!r} is not of the type {node.tag.removeprefix(_TAG)}")]
    return []


def plain(node: yaml.Node) -> Any:
    """What a node is as a value of Python."""
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def section_of(value: object, what: str) -> Section:
    """A value of Python as a section of a file that is not there, so that one reader is enough."""
    node = yaml.compose(yaml.safe_dump(value), Loader=yaml.SafeLoader)
    assert node is not None
    return Section(node, what, [])
