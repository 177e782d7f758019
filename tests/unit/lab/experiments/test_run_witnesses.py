"""Witnesses end when they are told to, whatever becomes of the first time that they are told."""

import asyncio

from lab.experiments.run_witnesses import cancel_until_done


async def test_a_cancellation_that_was_lost_is_said_again() -> None:
    lost = 0

    async def loses_two() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost > 2:
                    raise

    tasks = [asyncio.create_task(loses_two()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel_until_done(tasks)
    assert tasks[0].cancelled() and lost == 3
