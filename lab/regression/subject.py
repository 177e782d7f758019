"""What is compared with what: a commit, a folder with a checkout, or counters that were written down; with a topology, a distribution or compiled edges of its own. Pure.

HEAD~1                          a commit of the repository that one is in
../before                       a checkout
counters.json                   what `cdnlab regress` has written: exact counters only
HEAD,topology=small.yaml        the same build in another lab
HEAD,scenario=mine.yaml         with the first distribution of a scenario
HEAD,code=compiled              with edges compiled ahead of time
"""

from dataclasses import dataclass
from typing import Final

from lab.errors import UsageError

CODES: Final = ("source", "compiled")
_KEYS: Final = ("topology", "scenario", "code")


@dataclass(frozen=True, slots=True)
class Subject:
    """As it was typed. Empty: as the comparison has it by itself."""

    build: str
    topology: str = ""
    scenario: str = ""
    code: str = "source"

    def __str__(self) -> str:
        given = {"topology": self.topology, "scenario": self.scenario, "code": self.code}
        plain = {"code": "source"}
        return ",".join(
            [self.build, *(f"{key}={value}" for key, value in given.items() if value and value != plain.get(key))]
        )


def parse_subject(text: str) -> Subject:
    """UsageError says what is wrong with it."""
    build, *settings = text.split(",")
    if not build:
        raise UsageError(f"{text!r}: begins with a commit, a folder or a file of counters, as in HEAD~1,code=compiled")
    given: dict[str, str] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in _KEYS or not value:
            raise UsageError(f"{text!r}: {setting!r} is none of {', '.join(f'{each}=...' for each in _KEYS)}")
        if key in given:
            raise UsageError(f"{text!r}: {key} is given twice")
        given[key] = value
    if given.get("code", "source") not in CODES:
        raise UsageError(f"{text!r}: code is {' or '.join(CODES)}")
    return Subject(build, **given)
