"""Faults that edges, regional caches, routers and the control plane do to themselves, through `/faults` on their admin ports (docs/contracts.md)."""

from collections.abc import Mapping

from lab.faults.admin_port import Posting
from lab.faults.parameters import Value

_ABSENT = "was started without --allow-faults: a lab that is brought up anew starts its programs with it"


def own_fault(kind: str) -> Posting:
    """A fault of that kind, with the parameters that it has in the catalogue."""

    def document(parameters: Mapping[str, Value]) -> dict[str, object]:
        told = {name: value for name, value in parameters.items() if name != "lease_seconds"}
        return {"kind": kind, "parameters": told}

    return Posting("/faults", "faults", document, _ABSENT)
