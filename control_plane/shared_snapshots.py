"""One snapshot for all nodes that start over, also while the log grows: making it again for each new head would keep thousands of them waiting for one another.

A node that gets an older one gets the entries after it as well, so nothing is missing; how many may come after it is a question of cost.
"""

from typing import Protocol

from control_plane.change_log import TooFarBehindError

GROWN_TO_MUCH = 4
"""It is made again when the entries since then are more than one part in so many of its size."""


class SnapshotFrames(Protocol):
    """See change_log.Frames."""

    def snapshot(self) -> tuple[int, bytes]:
        """At the head, and its index."""

    def after(self, index: int) -> bytes | None:
        """The entry that follows `index`; None at the head."""


class SharedSnapshots:
    """The snapshot that is given out now."""

    def __init__(self, frames: SnapshotFrames) -> None:
        self._frames = frames
        self._made: tuple[int, bytes] | None = None
        self._grown_bytes = 0

    def log_grew(self, entry_bytes: int) -> None:
        """An entry of so many bytes was committed."""
        self._grown_bytes += entry_bytes

    def newest(self) -> tuple[int, bytes]:
        """Index and serialized ControlMessage. The entries after it are still in the log."""
        made = self._made
        if made is None or self._grown_bytes * GROWN_TO_MUCH > len(made[1]) or not self._can_go_on_from(made[0]):
            made = self._made = self._frames.snapshot()
            self._grown_bytes = 0
        return made

    def _can_go_on_from(self, index: int) -> bool:
        try:
            self._frames.after(index)
        except TooFarBehindError:
            return False
        return True
