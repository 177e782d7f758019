"""A recorded trace: what a real program looks up while it works.

The program is Python's own tokenizer, reading the standard library from `abc.py` on in order of name; each identifier that it meets is one look-up in a symbol table,
which is how a compiler uses its cache of interned strings. Unlike the made traces it has what real ones have: names that belong to one file and are asked for in a burst
and never again, names that all files share, loops, scans. It differs from one version of Python to the next; who compares two caches gives both the same.
"""

import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from sysconfig import get_path


@cache
def identifier_trace(requests: int = 220_000) -> list[int]:
    """The first `requests` look-ups, each name numbered by its first appearance, from 1 on."""
    numbers: dict[str, int] = {}
    trace: list[int] = []
    for name in _identifiers():
        trace.append(numbers.setdefault(name, len(numbers) + 1))
        if len(trace) == requests:
            break
    return trace


def _identifiers() -> Iterator[str]:
    for path in _sources():
        with path.open("rb") as source:
            for token in tokenize.tokenize(source.readline):
                if token.type == tokenize.NAME:
                    yield token.string


def _sources() -> list[Path]:
    """The standard library without what an installation adds, and without the tests and fixtures, some of which are no Python on purpose."""
    root = Path(get_path("stdlib"))
    skipped = {"site-packages", "dist-packages", "test", "tests", "lib2to3", "idlelib"}
    return [path for path in sorted(root.rglob("*.py")) if not skipped.intersection(path.relative_to(root).parts)]
