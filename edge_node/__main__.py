"""`python -m edge_node`: runs a node until SIGTERM or SIGINT."""

import asyncio
import gc
import logging
import signal
import sys
import time

import uvloop

from edge_node.node import EdgeNode, StartError
from edge_node.observability.resident_memory import START_SETTLES_SECONDS, release_program_pages
from edge_node.settings import Settings, parse_settings


def _configure_logging() -> None:
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with asyncio.TaskGroup() as tasks:
        node = EdgeNode(settings, tasks)
        await node.start()
        gc.freeze()  # what is loaded now stays: the collector need not look at it again
        # What comes after it is stored responses mostly, which have no cycles and are many: Python's own thresholds spend a tenth of each miss on looking at them.
        gc.set_threshold(20_000, 20, 20)
        loop.call_later(START_SETTLES_SECONDS, release_program_pages)
        await stopping.wait()
        await node.stop()


def main() -> int:
    """Exit status: 0 after a signal, 1 when the node cannot start."""
    _configure_logging()
    settings = parse_settings(sys.argv[1:])
    status = 0
    try:
        uvloop.run(_run(settings))
    except* (StartError, OSError) as errors:
        print("; ".join(str(error) for error in errors.exceptions), file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
