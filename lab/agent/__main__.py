"""`python -m lab.agent`: the agent of one lab (program.py). Started by `cdnlab up`, by its watchdog, or by a command that finds it gone."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lab.agent.guarding import Link
from lab.agent.keeper import Reached, go_on
from lab.agent.program import Start, run
from lab.errors import LabError


def main(arguments: Sequence[str] | None = None, reached: Reached = go_on) -> NoReturn:
    """Ends the process at once when it is over: what a thread still waits for, such as the lock of a lab that is being taken down, is nothing to wait for."""
    parser = argparse.ArgumentParser(prog="python -m lab.agent", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the lab's state folder")
    parser.add_argument("--watchdog", type=int, nargs=2, metavar=("FD", "PID"), help="of the watchdog that started it")
    options = parser.parse_args(arguments)
    watchdog = Link(*options.watchdog) if options.watchdog else None
    os._exit(asyncio.run(_run(Start(options.state, watchdog, reached))))


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


if __name__ == "__main__":
    main()
