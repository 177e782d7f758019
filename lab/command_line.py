"""What all commands share: where the lab's state is, how a command is run, and what becomes of what goes wrong. It loads nothing heavy, so that help is instant."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.errors import LabError

DEFAULT_STATE = Path(".cdnlab")
EXIT_INTERRUPTED = 130

State = Annotated[Path, typer.Option("--state", metavar="DIR", help="Folder in which the running lab keeps its state.")]


def run_command(command: str, **arguments: Any) -> None:
    """Runs lab/commands/COMMAND.py; what is expected to go wrong becomes one message and an exit status."""
    run: Callable[..., int] = import_module(f"lab.commands.{command}").run
    try:
        exit_status = run(**arguments)
    except LabError as error:
        print(f"cdnlab: {error}", file=sys.stderr)
        exit_status = error.exit_status
    except KeyboardInterrupt:
        print("cdnlab: interrupted", file=sys.stderr)
        exit_status = EXIT_INTERRUPTED
    raise typer.Exit(exit_status)
