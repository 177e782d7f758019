"""How a target is run: cases from seeds, a bound, and what is printed of a failure.

By default a target runs a fixed number of cases from a fixed seed, so that CI repeats itself. `CDNLAB_FUZZ_SECONDS=600` runs each target for so long instead,
`CDNLAB_FUZZ_SEED=n` takes other cases. A failing input is cut down as far as it goes on failing, and printed as a bytes literal.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

SECONDS = float(os.environ.get("CDNLAB_FUZZ_SECONDS", "0"))
SEED = os.environ.get("CDNLAB_FUZZ_SEED", "0")
MOST_MINIMISING_RUNS = 1_500
SAME_WORDS = 30
"""So many characters of a message tell one failure from another."""
TIMEOUT_SECONDS = 240 + SECONDS

Check = Callable[[bytes, random.Random], Awaitable[None]]
"""Judges one input; the generator decides what else varies (the cuts between reads), and is the same each time."""


class LoopTrouble:
    """Exceptions that a loop would only log."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.found.append(f"{context.get('message')}: {context.get('exception')!r}")


def fuzz(name: str, cases: int, generate: Callable[[random.Random], bytes], check: Check) -> int:
    """Run a target; returns the number of cases, or fails with the smallest input found."""
    return asyncio.run(_fuzz(name, cases, generate, check))


async def _fuzz(name: str, cases: int, generate: Callable[[random.Random], bytes], check: Check) -> int:
    deadline = time.monotonic() + SECONDS
    number = 0
    while number < cases or time.monotonic() < deadline:
        seed = f"{name}:{SEED}:{number}"
        data = generate(random.Random(seed))
        trouble = await _trouble_with(data, seed, check)
        if trouble is not None:
            smallest = await _minimise(data, seed, check, trouble)
            final = await _trouble_with(smallest, seed, check)
            raise AssertionError(f"case {seed} of {len(data)} bytes, cut down to\n    {smallest!r}\n{final or trouble}")
        number += 1
    return number


async def _trouble_with(data: bytes, seed: str, check: Check) -> str | None:
    trouble = LoopTrouble()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(trouble)
    try:
        await check(data, random.Random(seed + ":cuts"))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        loop.set_exception_handler(None)
    return trouble.found[0] if trouble.found else None


async def _minimise(data: bytes, seed: str, check: Check, trouble: str) -> bytes:
    """Leave out halves, quarters, ... single bytes, as long as it still fails in the same words."""
    runs = 0
    size = len(data) // 2
    while size >= 1:
        at = 0
        while at < len(data) and runs < MOST_MINIMISING_RUNS:
            shorter = data[:at] + data[at + size :]
            runs += 1
            found = await _trouble_with(shorter, seed, check)
            if found is not None and found[:SAME_WORDS] == trouble[:SAME_WORDS]:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def cut(data: bytes, rng: random.Random, most: int = 8) -> list[bytes]:
    """Into reads, at random places."""
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(1, most)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]
