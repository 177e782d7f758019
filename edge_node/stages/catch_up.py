"""A regional cache that is behind the edge that asks it waits for the log, or answers without its cache (DESIGN section 4, rule 4).

One that holds no lease has also learnt from it that the control plane goes on without it (rule 10).
"""

from edge_node.delivery.request_context import RequestContext
from edge_node.stages.stage import Wait
from edge_node.storage.node_state import NodeState

CATCH_UP_SECONDS = 1.0
"""How long it waits."""


def catch_up(context: RequestContext, state: NodeState) -> Wait | None:
    """Before the distribution, since what the edge knows may be about that."""
    position = context.head.fields.get(b"x-edge-log-index")
    if position is None or not state.is_behind(position):
        return None
    state.told_position(position, context.started_at)
    asked_position: bytes = position

    async def wait() -> None:
        context.is_without_cache = not await state.wait_until_not_behind(asked_position, CATCH_UP_SECONDS)

    return Wait(wait)
