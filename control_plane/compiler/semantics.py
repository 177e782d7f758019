"""What the reserved tags of a distribution choose: whose caching rules each behavior follows (docs/decisions/0005-semantics-by-tag.md), and what nodes without a lease do
(docs/decisions/0019-fenced-by-its-peers.md).

A reserved tag is never only kept: it is compiled, or refused. What every tag must be like is `tags.py`'s.
"""

import re
from collections.abc import Iterator, Mapping

from control_plane.compiler.problems import Config, Problem, items
from proto.cdn.v1 import configuration_pb2

Tags = Mapping[str, str]
"""Values by key."""

RESERVED_PREFIX = "cdnlab:"
SEMANTICS_KEY = f"{RESERVED_PREFIX}semantics"
PATTERN_PREFIX = f"{SEMANTICS_KEY}:"
STRICT_KEY = f"{RESERVED_PREFIX}strict-invalidation"

_SEMANTICS = {
    "cloudfront": configuration_pb2.SEMANTICS_CLOUDFRONT,
    "rfc9111": configuration_pb2.SEMANTICS_RFC9111,
}

_UNTAG_FIRST = " (to remove a behavior that has a tag, untag it first)"

_TRUTHS = {"true": True, "false": False}

_ENCODED = re.compile("=([0-9A-Fa-f]{2})")
_MALFORMED = re.compile("=(?![0-9A-Fa-f]{2})")
_ENCODED_ALWAYS = re.compile("[^A-Za-z0-9_.:/+@-]")
"""Of the characters of path patterns (reference 1.6), those that tags do not allow (reference 1.1), and the `=` that begins an encoded one."""


def reserved_tags(tags: Tags) -> dict[str, str]:
    """Those that mean something to the lab. Case makes no tag an ordinary one: nobody would see that it does nothing."""
    return {key: value for key, value in tags.items() if key.lower().startswith(RESERVED_PREFIX)}


def semantics_problems(tags: Tags, config: Config) -> Iterator[Problem]:
    """Every reserved tag that cannot be honoured for this distribution."""
    patterns = {_comparable(pattern): pattern for pattern in _patterns(config)}
    named: dict[str, str] = {}
    for key, value in reserved_tags(tags).items():
        if key == STRICT_KEY:
            if value not in _TRUTHS:
                yield _problem(key, f"must be {' or '.join(_TRUTHS)}, not {value[:40]!r}")
        elif key != SEMANTICS_KEY and not key.startswith(PATTERN_PREFIX):
            known = f"{SEMANTICS_KEY}, {PATTERN_PREFIX}PATH-PATTERN and {STRICT_KEY}"
            yield _problem(key, f"is not known; of the tags that begin with {RESERVED_PREFIX} there are {known}")
        elif value not in _SEMANTICS:
            yield _problem(key, f"must be {' or '.join(_SEMANTICS)}, not {value[:40]!r}")
        elif key != SEMANTICS_KEY:
            yield from _pattern_problems(key, patterns, named)


def compile_semantics(tags: Tags, pattern: str) -> "configuration_pb2.Semantics.ValueType":
    """Those of the behavior with this path pattern; `tags` are without problems."""
    chosen = tags.get(SEMANTICS_KEY, "cloudfront")
    for key, value in reserved_tags(tags).items():
        if key.startswith(PATTERN_PREFIX) and _comparable(_decoded(key)) == _comparable(pattern):
            chosen = value
    return _SEMANTICS[chosen]


def is_strictly_invalidated(tags: Tags) -> bool:
    """Whether a node without a lease serves nothing of this distribution unconfirmed; `tags` are without problems."""
    return _TRUTHS[tags.get(STRICT_KEY, "false")]


def semantics_key(pattern: str) -> str:
    """The tag that chooses the semantics of one behavior."""
    return PATTERN_PREFIX + _ENCODED_ALWAYS.sub(lambda found: f"={ord(found[0]):02X}", pattern)


def _pattern_problems(key: str, patterns: Mapping[str, str], named: dict[str, str]) -> Iterator[Problem]:
    pattern = _decoded(key)
    if _MALFORMED.search(key):
        yield _problem(key, "holds a = that begins no encoded character, such as =2A for *")
    elif not pattern or _comparable(pattern) not in patterns:
        there_are = ", ".join(semantics_key(each) for each in patterns.values())
        yield _problem(
            key,
            f"names {pattern[:64]!r}, which is the path pattern of no behavior; there are {there_are}{_UNTAG_FIRST}",
        )
    elif (other := named.setdefault(_comparable(pattern), key)) != key:
        yield _problem(key, f"names the same behavior as {other}")


def _patterns(config: Config) -> list[str]:
    """Of all behaviors; "*" is the default one."""
    return [*(behavior["PathPattern"] for behavior in items(config["CacheBehaviors"])), "*"]


def _decoded(key: str) -> str:
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), key.removeprefix(PATTERN_PREFIX))


def _comparable(pattern: str) -> str:
    """A leading "/" makes no difference (reference 1.6)."""
    return pattern.removeprefix("/")


def _problem(key: str, message: str) -> Problem:
    return Problem("InvalidTagging", f"The tag {key} {message}")
