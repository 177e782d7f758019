"""Fairness between the management API and the streams to nodes, which share one event loop.

An API request takes milliseconds of one turn of the loop, in which no node is heard. Clients that never pause must not have all turns, so requests are let in one at a
time with turns between them. In each of those, everything that has come from all nodes is read and answered (decision 25); without anything to do a turn costs nothing.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

TURNS_BETWEEN = 4
"""A change is told to nodes in the turns after it, STREAMS_AT_A_TIME in each (`sync.py`)."""


def in_turn(application: ASGIApp) -> ASGIApp:
    """The application, which gets the end of a request's body when it is the request's turn; a client that sends slowly holds nobody up."""
    one_at_a_time = asyncio.Lock()

    async def give_way() -> None:
        async with one_at_a_time:
            for _ in range(TURNS_BETWEEN):
                await asyncio.sleep(0)

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_in_turn() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                await give_way()
            return message

        await application(scope, receive_in_turn, send)

    return endpoint
