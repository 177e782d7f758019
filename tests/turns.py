"""Turns of the event loop, where all that is awaited is fakes: when nobody is due, nothing will ever happen by itself."""

import asyncio
from typing import Any


async def settle(most_turns: int = 1_000) -> None:
    """Let the loop run what is due, and what that makes due, until nothing is left or so many turns are over."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(most_turns):
        await asyncio.sleep(0)
        if not loop._ready:  # nobody of this turn comes after us, and nobody is due in the next one
            return
