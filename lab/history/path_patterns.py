"""Which paths an invalidation covers (docs/invalidation.md; reference 4): a `*` stands for anything as the last character only, and case counts.

Written apart from the edge node's own rules, since histories judge those.
"""


def patterns_of(paths: str | None) -> tuple[str, ...]:
    """Of the column `paths`: patterns with spaces between. A path without its first slash is taken with it, as the API does; `#TAG` stays as it is."""
    return tuple(each if each.startswith(("/", "#")) else f"/{each}" for each in (paths or "").split())


def is_wildcard(pattern: str) -> bool:
    """Whether it stands for more than one path."""
    return pattern.endswith("*") and not pattern.startswith("#")


def matches(pattern: str, path: str) -> bool:
    """Whether this path, with its query, is covered. A tag covers what cannot be seen in a path: never, says this."""
    return path.startswith(pattern[:-1]) if is_wildcard(pattern) else path == pattern
