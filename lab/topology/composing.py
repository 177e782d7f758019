"""From a text to the tree of its nodes: what is no YAML, or is nested so deep that composing it would end the process, is a problem with a line. Pure."""

from typing import Final

import yaml

from lab.topology.problems import Problem, TopologyError

MOST_DEPTH: Final = 40
"""libyaml composes by recursion, in C."""


def compose(text: str, source: str) -> yaml.Node:
    """TopologyError for what is none, with the line; `source` is what the text is called."""
    made = _compose(text)
    if isinstance(made, Problem):
        raise TopologyError(source, [made])
    return made


def _compose(text: str) -> yaml.Node | Problem:
    try:
        node = _problem_of_depth(text) or yaml.compose(text, Loader=yaml.CSafeLoader)
        return node or Problem(1, "the file is empty")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return Problem(line, f"not YAML: {error.problem}{_hint(text, line, error)}")
    except yaml.YAMLError as error:
        return Problem(1, f"not YAML: {error}")


def _problem_of_depth(text: str) -> Problem | None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            return Problem(line, f"nested more than {MOST_DEPTH} levels deep")
    return None


def _hint(text: str, line: int, error: yaml.MarkedYAMLError) -> str:
    is_unexpected = error.problem is not None and "cannot start any token" in error.problem
    is_tab = is_unexpected and "\t" in text.splitlines()[line - 1]
    return "; YAML is indented with spaces, not with tabs" if is_tab else ""
