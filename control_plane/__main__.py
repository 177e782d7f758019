"""`python -m control_plane`: see `--help` and docs/contracts.md."""

import sys
from functools import partial

import uvloop

from control_plane import api_process, process_logs, server, settings, state
from control_plane.api_child import fork_api


def main() -> int:
    """Run the control plane; the exit status."""
    process_logs.to_standard_error()
    try:
        parsed = settings.parse(sys.argv[1:])
    except settings.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    first_api = fork_api(partial(api_process.run, parsed))
    try:
        uvloop.run(server.serve(parsed, first_api))
    except* (server.StartError, state.StoreError) as errors:
        print(_first(errors), file=sys.stderr)
        return_status = 1
    else:
        return_status = 0
    finally:
        first_api.end()
    return return_status


def _first(error: BaseException) -> BaseException:
    """Tasks within tasks wrap what ended them once each."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
