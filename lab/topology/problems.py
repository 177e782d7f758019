"""Mistakes in files that people write, each with its line, told all at once."""

from dataclasses import dataclass

from lab.errors import UsageError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake and the line it is on."""

    line: int
    message: str


COMMAND_LINE = 0
"""The line of what is not in the file at all, but was said with `--loopback`."""


class TopologyError(UsageError):
    """Everything that is wrong with a topology, in the order of its lines."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(f"{_place(source, problem.line)}: {problem.message}" for problem in self.problems))


def _place(source: str, line: int) -> str:
    return "command line" if line == COMMAND_LINE else f"{source}:{line}"
