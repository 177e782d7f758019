"""Which process of a node speaks: DESIGN section 4, rule 5. A value, shared by nodes and control plane.

A receipt says of a node that it has acknowledged, and it is a process that does. Where a state folder or a certificate was copied, two processes have the name of one
node, and what one of them acknowledges says nothing of the other.
"""

from dataclasses import dataclass
from typing import Final

MOST_PREDECESSORS: Final = 8
"""So many are remembered: of a node that was started again and again without having been heard."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Of one process, for as long as it lives. Without arguments: the node does not tell its processes apart."""

    number: int = 0
    """Random, below 2**63; 0 is no process."""
    predecessors: tuple[int, ...] = ()
    """Numbers of processes of this node which are proven to have ended, the latest first."""

    def follows(self, number: int) -> bool:
        """Whether it is the process of that number, or the one of that number has ended."""
        return number == self.number or number in self.predecessors


NO_PROCESS: Final = ProcessIdentity()
"""Of a node that does not tell its processes apart."""
