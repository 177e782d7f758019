"""`python -m control_plane`: see `--help` and docs/contracts.md."""

import logging
import sys
import time

import uvloop

from control_plane import server, settings, state


def main() -> int:
    """Run the control plane; the exit status."""
    _log_to_standard_error()
    try:
        parsed = settings.parse(sys.argv[1:])
    except settings.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        uvloop.run(server.serve(parsed))
    except* (server.StartError, state.StoreError) as errors:
        print(_first(errors), file=sys.stderr)
        return_status = 1
    else:
        return_status = 0
    return return_status


def _first(error: BaseException) -> BaseException:
    """Tasks within tasks wrap what ended them once each."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _log_to_standard_error() -> None:
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("uvicorn", "uvicorn.error", "sqlalchemy", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
