"""Where somebody stands in the change log, and on which history of it: DESIGN section 4, rule 9. A value, shared by nodes and control plane."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Everything up to `index` is applied. Without arguments: nothing is known."""

    log_id: str = ""
    """Identity of the log; indexes of different ones are never compared."""
    index: int = 0
    digest: bytes = b""
    """Of all entries up to `index`, as the control plane has made it (`control_plane/change_log.py`). A node keeps it with the index and says it again."""
