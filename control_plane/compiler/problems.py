"""What is wrong with a configuration, in the words of the service's errors (reference 1.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]
"""A structure of the service's model, its members typed as the model says and the required ones there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason to refuse; the message begins with the path of the member."""

    code: str
    message: str


def invalid(path: str, message: str) -> Problem:
    """The common case."""
    return Problem("InvalidArgument", f"{path} {message}")


def items(quantified: Config | None) -> Sequence[Any]:
    """The items of a `{Quantity, Items}` structure, which may be missing altogether."""
    return (quantified or {}).get("Items") or ()
