"""How far a follower says that the log is: looked at soon, and never by a leader, who would miss what it skips."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from control_plane import server
from control_plane.server import _HeadForPeople


class Store:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.looks = 0

    def start_at_head(self) -> None:
        self.looks += 1


async def turn_of_timers() -> None:
    """Until all that was due is done."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, done.set)
    async with asyncio.timeout(10):
        await done.wait()


async def test_much_news_is_one_look_and_a_leader_never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.0)
    store, roles = Store(), SimpleNamespace(leading=None)
    head = _HeadForPeople(cast(Any, store), cast(Any, roles))
    for _ in range(3):
        head.look_soon()
    await turn_of_timers()
    assert store.looks == 1
    head.look_soon()
    roles.leading = "a term"  # which has begun before it has looked
    await turn_of_timers()
    head.look_soon()
    await turn_of_timers()
    assert store.looks == 1
    roles.leading = None
    head.look_soon()
    await turn_of_timers()
    assert store.looks == 2
