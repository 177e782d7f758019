"""The command line of docs/contracts.md: `python -m origin --node-id ID --listen HOST:PORT --admin HOST:PORT [--request-log FILE] [--history DIR]`."""

import argparse
import logging
import sys
import time
from pathlib import Path

import uvloop

from origin.errors import StartError
from origin.node import Clocks
from origin.server import Options, serve
from proto.host_clock import host_seconds, take_anchor
from proto.seeds import parse_seed

_EXAMPLE = """example:
  python -m origin --node-id origin-1 --listen 127.0.0.1:9000 --admin 127.0.0.1:9001
  curl http://127.0.0.1:9000/echo/hello?cache-control=max-age%3D60
  curl http://127.0.0.1:9001/count?path=/echo/hello
"""


def main() -> int:
    """Exit status: 0 after SIGTERM or SIGINT, 1 when it cannot start, 2 for bad flags."""
    options = _parse(sys.argv[1:])
    _log_to_standard_error()
    try:
        uvloop.run(serve(options, Clocks(time.time, host_seconds, take_anchor())))
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m origin",
        description="Content for the lab: a website, an API, downloads, video and buckets; slow or broken on request.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--node-id", required=True, help="name in logs and metrics")
    parser.add_argument(
        "--listen", required=True, type=_address, metavar="HOST:PORT", help="content; port 0: any free port"
    )
    parser.add_argument(
        "--admin", required=True, type=_address, metavar="HOST:PORT", help="health, metrics, misbehaviour"
    )
    parser.add_argument(
        "--request-log", type=Path, metavar="FILE", help="JSON lines of every request, at most two files of 256 MiB"
    )
    parser.add_argument(
        "--history", type=Path, metavar="DIR", help="keep rows of every answer in DIR while a run asks for it"
    )
    parser.add_argument(
        "--seed", type=parse_seed, metavar="N", help="the lab's: what is chance repeats with it (docs/repeating.md)"
    )
    given = parser.parse_args(arguments)
    return Options(given.node_id, given.listen, given.admin, given.request_log, given.history, given.seed)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _log_to_standard_error() -> None:
    """One line per event, in UTC, as docs/contracts.md shows it."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
