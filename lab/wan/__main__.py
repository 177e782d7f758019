"""`python -m lab.wan --config FILE`: relays until SIGTERM or SIGINT; with `--check` the self-test instead, whose verdict is the exit status."""

import argparse
import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvloop

from lab.errors import EXIT_FAILED, LabError
from lab.wan.check import check_links
from lab.wan.configuration import Configuration
from lab.wan.configuration_file import read_configuration
from lab.wan.judgement import Measurement
from lab.wan.server import raise_limit, relaying, serving

logger = logging.getLogger("wan")


def _configure_logging() -> None:
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )


async def _run(configuration: Configuration) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with relaying(configuration) as relays, serving(relays) as address:
        logger.info("%d proxies, %d links, API on %s", len(relays.proxies), len(relays.network.links), address)
        await stopping.wait()
    return 0


async def _check(configuration: Configuration, *, is_json: bool) -> int:
    async with relaying(configuration) as relays:
        measurements = await check_links(relays)
    print(json.dumps([each.to_json() for each in measurements]) if is_json else "\n".join(table(measurements)))
    return EXIT_FAILED if any(each.is_off for each in measurements) else 0


def table(measurements: Sequence[Measurement]) -> list[str]:
    """Lines for people: those that are off are marked."""
    lines = [f"{'link':<40} {'direction':<9} {'what':<9} {'asked':>10} {'measured':>10} unit"]
    for each in measurements:
        mark = "  OFF" if each.is_off else ""
        values = f"{each.asked:>10.2f} {each.measured:>10.2f} {each.unit}"
        lines.append(f"{each.link:<40} {each.direction:<9} {each.what:<9} {values}{mark}")
    off = sum(each.is_off for each in measurements)
    return [*lines, f"{len(measurements)} measurements, {off} off"]


def main() -> int:
    """Exit status: 0 after a signal or when all links are as asked, 1 when not or when it cannot start, 2 for a wrong file or flag."""
    _configure_logging()
    parser = argparse.ArgumentParser(prog="lab.wan", description="The modelled internet between the places of a lab.")
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="YAML or JSON; docs/wan.md")
    parser.add_argument(
        "--check", action="store_true", help="measure every link, print what was asked and what is, end"
    )
    parser.add_argument("--json", action="store_true", help="with --check: print JSON")
    given = parser.parse_args()
    status = 0
    try:
        configuration = read_configuration(given.config)
        raise_limit(configuration.bounds)
        work = _check(configuration, is_json=given.json) if given.check else _run(configuration)
        status = uvloop.run(work)
    except* LabError as errors:
        for error in _leaves(errors):
            print(f"lab.wan: {error}", file=sys.stderr)
            status = error.exit_status
    return status


def _leaves(errors: BaseExceptionGroup[LabError]) -> Iterator[LabError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main())
