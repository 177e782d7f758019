"""`python -m dns_router`: exit status 0 after SIGTERM or SIGINT, 2 for bad flags, 1 when it cannot start."""

import logging
import sys
import time

import uvloop

from dns_router.command_line import Options, parse_options
from dns_router.server import CannotStartError, serve
from dns_router.sockets import CannotListenError


def _log_to_standard_error(options: Options) -> None:
    """One line per event, in UTC (docs/contracts.md, Command lines)."""
    line = f"%(asctime)s.%(msecs)03dZ %(levelname)s dns_router {options.node_id.replace('%', '%%')} %(message)s"
    formatter = logging.Formatter(line, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main() -> int:
    """Run the router; the exit status."""
    options = parse_options()
    _log_to_standard_error(options)
    try:
        uvloop.run(serve(options))
    except (CannotListenError, CannotStartError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
