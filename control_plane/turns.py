"""Fairness between the management API and the streams to nodes, which share one event loop.

gRPC's asyncio layer hands over one event per turn of the loop (grpcio 1.85: a byte of its wake-up socket, a callback, one event), and each entry costs every stream
two: a message written, an acknowledgement read. An API request takes milliseconds of one turn. Three clients that never pause are enough to keep nodes from hearing
anything until their leases run out, so requests are let in one at a time with turns between them that cost next to nothing when there are no events.
"""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

TURNS_PER_STREAM = 4
"""An entry written, its acknowledgement read, and the same again for a heartbeat and its lease."""
TURNS_AT_LEAST = 8


def in_turn(application: ASGIApp, open_streams: Callable[[], int]) -> ASGIApp:
    """The application, which gets the end of a request's body when it is the request's turn; a client that sends slowly holds nobody up."""
    one_at_a_time = asyncio.Lock()

    async def give_way() -> None:
        async with one_at_a_time:
            for _ in range(TURNS_AT_LEAST + TURNS_PER_STREAM * open_streams()):
                await asyncio.sleep(0)

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_in_turn() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                await give_way()
            return message

        await application(scope, receive_in_turn, send)

    return endpoint
