"""How long ago entries of the log were committed, as coarsely as leases need it (`leases.py`). Pure."""

COMMIT_BUCKET_SECONDS = 0.05
"""How finely the age of log entries is remembered, which bounds the memory for it."""


class CommitAges:
    """The commits of the last moments."""

    def __init__(self, head_index: int, now: float) -> None:
        self._overdue_index = 0
        self._recent: list[tuple[float, int]] = [(now, head_index)]

    def committed(self, index: int, now: float) -> None:
        """An entry at `index`, which is the head now."""
        newest_at, _ = self._recent[-1] if self._recent else (float("-inf"), 0)
        if now - newest_at < COMMIT_BUCKET_SECONDS:
            self._recent[-1] = (newest_at, index)
        else:
            self._recent.append((now, index))

    def newest_before(self, limit: float) -> int:
        """The newest index that was committed before a moment, which never goes back."""
        while self._recent and self._recent[0][0] < limit:
            self._overdue_index = self._recent.pop(0)[1]
        return self._overdue_index
