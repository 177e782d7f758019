"""The one clock of the process."""

import time


class SteadyClock:
    """Seconds since the epoch that never go back and never jump while the process runs: leases need the former, receipts the latter."""

    def __init__(self) -> None:
        self._epoch = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Now."""
        return self._epoch + time.monotonic()
