"""How many system calls a process makes while something is done to it, by strace, where that is installed and may look at it."""

import asyncio
import re
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

_ATTACHED: Final = b"attached"
_ATTACH_SECONDS: Final = 5.0
_END_SECONDS: Final = 10.0
_TOTAL: Final = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total$", re.MULTILINE)


async def count_system_calls(pid: int | None, work: Callable[[], Awaitable[None]]) -> int | None:
    """Of all its threads, during the work; None when they cannot be counted here, and then the work is not done either."""
    strace = shutil.which("strace")
    if strace is None or pid is None:
        return None
    with tempfile.TemporaryDirectory(prefix="cdnlab-strace-") as folder:
        table = Path(folder, "calls")
        tracer = await asyncio.create_subprocess_exec(
            *(strace, "-f", "-c", "-o", str(table), "-p", str(pid)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            if not await _is_attached(tracer):
                return None
            await work()
        finally:
            if tracer.returncode is None:
                tracer.send_signal(signal.SIGINT)  # lets the process go on, and writes the table
                async with asyncio.timeout(_END_SECONDS):
                    await tracer.communicate()
        return total_of(await asyncio.to_thread(table.read_text, encoding="utf-8"))


async def _is_attached(tracer: asyncio.subprocess.Process) -> bool:
    assert tracer.stderr is not None
    try:
        async with asyncio.timeout(_ATTACH_SECONDS):
            while line := await tracer.stderr.readline():
                if _ATTACHED in line:
                    return True
    except TimeoutError:
        return False
    return False


def total_of(table: str) -> int | None:
    """The calls in the last line of what `strace -c` writes; None when there is no such line."""
    found = _TOTAL.search(table)
    return int(found[1]) if found else None
