"""What people read: colours and a table that stays in place are for terminals only, and for nobody who has set NO_COLOR (https://no-color.org)."""

import os
from typing import TextIO

from rich.console import Console


def make_log_console(file: TextIO) -> Console:
    """For who reads it later, in a file."""
    return Console(file=file, highlight=False, soft_wrap=True)


def make_console(*, is_for_people: bool = True) -> Console:
    """Lines are never folded. What is not for people is JSON on standard output, and the words go to standard error."""
    if os.environ.get("NO_COLOR"):
        return Console(
            highlight=False, soft_wrap=True, stderr=not is_for_people, color_system=None, force_terminal=False
        )
    return Console(highlight=False, soft_wrap=True, stderr=not is_for_people)
