"""When a lab is ready: every node is live, which for nodes of the control plane means leased at the head of the log."""

import time
from collections.abc import Callable

from lab.cluster.status import LEASED_ROLES, LabStatus, NodeStatus, observe_itself
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


def wait_until_node_is_live(
    status: Callable[[], LabStatus], node_id: str, check_is_alive: Callable[[], None], timeout_seconds: float
) -> NodeStatus:
    """One node's status once it is live.

    The node is asked as well as the control plane, which may still count the lease of the process before it.
    """

    def status_of_one() -> LabStatus:
        whole = status()
        nodes = tuple(
            observe_itself(each.node) if each.state == "live" and each.node.role in LEASED_ROLES else each
            for each in whole.nodes
            if each.node.id == node_id
        )
        return LabStatus(whole.zone, whole.endpoint, nodes, whole.distributions)

    return wait_until_ready(status_of_one, check_is_alive, timeout_seconds).nodes[0]
