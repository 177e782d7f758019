"""When a lab is ready: every node is live, which for nodes of the control plane means leased at the head of the log."""

import time
from collections.abc import Callable

from lab.cluster.status import LabStatus
from lab.errors import LabError

_POLL_SECONDS = 0.05


def wait_until_ready(
    status: Callable[[], LabStatus], check_nobody_has_died: Callable[[], None], timeout_seconds: float
) -> LabStatus:
    """The first status in which all is live. LabError naming who is not when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        check_nobody_has_died()
        now = status()
        if now.is_whole:
            return now
        if time.monotonic() >= deadline:
            missing = ", ".join(f"{each.node.id} ({each.state})" for each in now.nodes if each.state != "live")
            raise LabError(f"not ready after {timeout_seconds:g} s: {missing}")
        time.sleep(_POLL_SECONDS)
