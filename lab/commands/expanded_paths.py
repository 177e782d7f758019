"""Tells paths that somebody has typed from those that a shell has put in the place of an unquoted `*`.

`/*` means the whole site, and to a shell everything at the top of this machine: `/bin /boot /dev ...`.
"""

import os
from collections.abc import Callable, Sequence

LEAST_PATHS = 2
"""A single path that this machine happens to have is as likely meant."""

ListFolder = Callable[[str], Sequence[str]]


def find_expanded_pattern(paths: Sequence[str], list_folder: ListFolder = os.listdir) -> tuple[str, int] | None:
    """The pattern that a shell would have expanded to some of these paths, and to how many: all that a folder has under one beginning."""
    folders: dict[str, set[str]] = {}
    for path in paths:
        folder, slash, name = path.rpartition("/")
        if slash and name:
            folders.setdefault(folder + slash, set()).add(name)
    for folder, given in folders.items():
        names = given & _visible(folder, list_folder)
        if len(names) < LEAST_PATHS:
            continue
        beginning = os.path.commonprefix(sorted(names))  # noqa: RUF071 - of names, letter by letter
        if names == {name for name in _visible(folder, list_folder) if name.startswith(beginning)}:
            return f"{folder}{beginning}*", len(names)
    return None


def _visible(folder: str, list_folder: ListFolder) -> set[str]:
    """What `*` matches: no names that begin with a dot."""
    try:
        return {name for name in list_folder(folder) if not name.startswith(".")}
    except (OSError, ValueError):
        return set()
