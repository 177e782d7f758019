"""Turns of the event loop between requests of the management API."""

import asyncio
import itertools

from starlette.types import Message, Receive, Scope, Send

from control_plane.turns import TURNS_BETWEEN, in_turn


async def receive_at_once() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send_nowhere(_message: Message) -> None:
    """What the application says is of no interest here."""


async def test_streams_get_their_turns_between_two_requests() -> None:
    turns = 0
    served_at: list[int] = []

    async def application(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        served_at.append(turns)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    fair = in_turn(application)
    counting = asyncio.ensure_future(count_turns())
    await asyncio.gather(*(fair({"type": "http"}, receive_at_once, send_nowhere) for _ in range(5)))
    counting.cancel()
    between = [later - earlier for earlier, later in itertools.pairwise(served_at)]
    assert len(between) == 4
    assert min(between) >= TURNS_BETWEEN


async def test_a_client_that_sends_slowly_holds_nobody_up() -> None:
    never = asyncio.Event()
    served: list[str] = []

    async def application(scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        served.append(scope["path"])

    def dribbling() -> Receive:
        first = True

        async def receive() -> Message:
            nonlocal first
            if not first:
                await never.wait()
            first = False
            return {"type": "http.request", "body": b"x", "more_body": True}

        return receive

    fair = in_turn(application)
    slow = asyncio.ensure_future(fair({"type": "http", "path": "/slow"}, dribbling(), send_nowhere))
    await fair({"type": "http", "path": "/quick"}, receive_at_once, send_nowhere)
    assert served == ["/quick"]
    slow.cancel()
