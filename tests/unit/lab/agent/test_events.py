"""Listeners hear everything, or that they were too slow; and there are not too many of them."""

import pytest

from lab.agent.events import MOST_LISTENERS, MOST_WAITING, Event, Events
from lab.errors import LabError


async def heard(events: Events, tell: int) -> list[bytes]:
    """By a listener that reads nothing until so many things have happened."""
    listener = events.listen()
    for number in range(tell):
        events.tell(Event("healed", {"number": number}))
    events.end()
    return [piece async for piece in events.stream(listener) if piece]


async def test_events_come_in_order_and_the_stream_ends_with_the_agent() -> None:
    comment, *told = await heard(Events(), 2)
    assert comment.startswith(b":")
    assert told == [b'event: healed\ndata: {"number": 0}\n\n', b'event: healed\ndata: {"number": 1}\n\n']


async def test_who_is_too_slow_is_told_so_and_let_go() -> None:
    _, *told = await heard(Events(), MOST_WAITING + 50)
    assert len(told) == MOST_WAITING + 1
    assert told[-1].startswith(b"event: dropped\n")


async def test_one_that_is_too_slow_costs_the_others_nothing() -> None:
    events = Events()
    slow, quick = events.listen(), events.listen()
    stream = events.stream(quick)
    await anext(stream)
    for number in range(MOST_WAITING + 1):
        events.tell(Event("healed", {"number": number}))
        assert f'"number": {number}' in (await anext(stream)).decode()
    assert slow.is_over and not quick.is_over


async def test_there_are_not_too_many_and_who_leaves_makes_room() -> None:
    events = Events()
    listeners = [events.listen() for _ in range(MOST_LISTENERS)]
    with pytest.raises(LabError, match="are the most"):
        events.listen()
    stream = events.stream(listeners[0])
    await anext(stream)
    await stream.aclose()
    assert events.listen()
