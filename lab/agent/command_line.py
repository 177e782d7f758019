"""The command line of an agent, whichever kind of lab it is for."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lab.agent.guarding import Link
from lab.agent.keeper import Reached, go_on
from lab.agent.program import OpenLab, Start, run
from lab.errors import LabError


def run_agent(
    program: str, open_lab: OpenLab, arguments: Sequence[str] | None = None, reached: Reached = go_on
) -> NoReturn:
    """Ends the process at once when it is over: what a thread still waits for, such as the lock of a lab that is being taken down, is nothing to wait for."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description="The agent of one lab.")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the lab's state folder")
    parser.add_argument("--watchdog", type=int, nargs=2, metavar=("FD", "PID"), help="of the watchdog that started it")
    options = parser.parse_args(arguments)
    watchdog = Link(*options.watchdog) if options.watchdog else None
    os._exit(asyncio.run(_run(Start(options.state, watchdog, open_lab, reached))))


async def _run(start: Start) -> int:
    """The exit status. `asyncio.run` would wait for threads, so that it ends here."""
    status = 0
    try:
        await run(start)
    except LabError as error:
        print(f"agent: {error}", flush=True)
        status = error.exit_status
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
