"""Faults of an origin's answers, through `/behaviors` on its admin port (docs/origin.md). They end there by a lease of the origin's own, too."""

from collections.abc import Callable, Mapping

from lab.faults.admin_port import Posting
from lab.faults.parameters import NO_FIELD_NAMES, Value

Does = Callable[[Mapping[str, Value]], dict[str, object]]
"""What of a behavior says what it does, from the fault's parameters."""


CONSTANT_ETAG = '"constant"'
"""Strong, so that ranges are resumed by it."""


def vary_of(names: Value) -> str | None:
    """The field's value; None where there is to be none."""
    return None if names == NO_FIELD_NAMES else str(names)


def behavior(does: Does) -> Posting:
    """A fault that is a behavior."""

    def document(parameters: Mapping[str, Value]) -> dict[str, object]:
        return {
            **does(parameters),
            "path_prefix": parameters["path"],
            "probability": parameters["probability"],
        }

    return Posting("/behaviors", "behaviors", document)
