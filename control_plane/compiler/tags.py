"""Tags: what any of them must be like (reference 1.1). What the lab's own mean is in `semantics.py`."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from control_plane.compiler.problems import Problem
from control_plane.compiler.semantics import PATTERN_PREFIX, Tags

MAXIMUM_TAGS = 50
MAXIMUM_KEY_CHARACTERS = 128
MAXIMUM_VALUE_CHARACTERS = 256

_SYMBOLS = frozenset("_.:/=+-@")
_CATEGORIES = frozenset("LNZ")
"""Letters, numbers, separators: of every script, as the pattern in the service's model says."""

_SERVICE_PREFIX = "aws:"
"""Kept by AWS for itself, in any case, on every kind of resource."""


def tag_problems(pairs: Sequence[tuple[str, str]], present: Tags) -> Iterator[Problem]:
    """Everything that is wrong with adding these to what is `present`."""
    count = len({*present, *(key for key, _ in pairs)})
    if count > MAXIMUM_TAGS:
        yield _problem(f"A distribution has at most {MAXIMUM_TAGS} tags; there would be {count}")
    for key, times in Counter(key for key, _ in pairs).items():
        if times > 1:
            yield _problem(f"The tag {key[:64]!r} is there {times} times")
    for key, value in pairs:
        yield from _key_problems(key)
        if len(value) > MAXIMUM_VALUE_CHARACTERS or not _has_allowed_characters(value):
            yield _problem(f"The value of the tag {key[:64]!r} must have {_allowed(0, MAXIMUM_VALUE_CHARACTERS)}")


def _key_problems(key: str) -> Iterator[Problem]:
    if not 0 < len(key) <= MAXIMUM_KEY_CHARACTERS or not _has_allowed_characters(key):
        yield _problem(
            f"The key of the tag {key[:64]!r} must have {_allowed(1, MAXIMUM_KEY_CHARACTERS)}{_encoding(key)}"
        )
    if key.lower().startswith(_SERVICE_PREFIX):
        yield _problem(f"The key of the tag {key[:64]!r} must not begin with {_SERVICE_PREFIX}")


def _has_allowed_characters(text: str) -> bool:
    return all(character in _SYMBOLS or unicodedata.category(character)[0] in _CATEGORIES for character in text)


def _allowed(least: int, most: int) -> str:
    return f"{least} to {most} letters, digits, spaces and _.:/=+-@"


def _encoding(key: str) -> str:
    """What to do about a path pattern that stands in the key as it is."""
    return "; in a path pattern * is written =2A, ? is =3F, ~ is =7E" if key.lower().startswith(PATTERN_PREFIX) else ""


def _problem(message: str) -> Problem:
    return Problem("InvalidTagging", message)
