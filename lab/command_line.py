"""What all commands share: where the lab's state is, how a command is run, and what becomes of what goes wrong. It loads nothing heavy, so that help is instant."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from lab.errors import EXIT_FAILED, LabError
from lab.streams import complain, discard_output, flush_output, prepare_streams

DEFAULT_STATE = Path(".cdnlab")
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
"""What a shell says of a program that SIGPIPE has ended: whoever read has read enough."""


def suggest(what: str) -> Callable[[typer.Context, str], list[str]]:
    """The words that a shell may complete to: `what` names a function of lab/commands/suggestions.py."""

    def suggestions(context: typer.Context, incomplete: str) -> list[str]:
        found: Callable[[dict[str, Any]], list[str]] = getattr(import_module("lab.commands.suggestions"), what)
        return [word for word in found(context.params) if word.startswith(incomplete)]

    return suggestions


State = Annotated[Path, typer.Option("--state", metavar="DIR", help="Folder in which the running lab keeps its state.")]
Json = Annotated[bool, typer.Option("--json", help="For scripts; docs/cli.md says what it is.")]
Node = Annotated[
    str,
    typer.Argument(metavar="NODE", help="Its id in `cdnlab status`.", autocompletion=suggest("nodes")),
]


def run_command(command: str, **arguments: Any) -> NoReturn:
    """Runs lab/commands/COMMAND.py; what is expected to go wrong becomes one message and an exit status."""
    try:
        run: Callable[..., int] = import_module(f"lab.commands.{command}").run
        exit_status = run(**arguments)
        flush_output()
    except LabError as error:
        complain(f"cdnlab: {error}")
        exit_status = error.exit_status
    except KeyboardInterrupt:
        complain("cdnlab: interrupted")
        exit_status = EXIT_INTERRUPTED
    except OSError as error:
        exit_status = tell_of_surroundings(error)
    raise typer.Exit(exit_status)


def run_program(program: Callable[[], object]) -> NoReturn:
    """The whole command line, with whatever streams it was given."""
    prepare_streams()
    exit_status: object = 0
    try:
        program()
    except SystemExit as end:
        exit_status = end.code
    except OSError as error:  # help, or a version, that cannot be printed
        exit_status = tell_of_surroundings(error)
    try:
        flush_output()
    except OSError as error:
        exit_status = tell_of_surroundings(error)
    sys.exit(exit_status if isinstance(exit_status, int) else EXIT_FAILED)


def tell_of_surroundings(error: OSError) -> int:
    """The exit status, after a message: something around the program is not as it needs it, mostly what it prints to or a folder."""
    if isinstance(error, BrokenPipeError):
        discard_output()
        return EXIT_PIPE_CLOSED
    complain(f"cdnlab: {_describe(error)}")
    discard_output()
    return EXIT_FAILED


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    if _is_folder_gone():
        return "the current folder does not exist any more: go to another one"
    if error.filename is None:
        return f"cannot write: {reason}"
    name = error.filename if isinstance(error.filename, str) else repr(error.filename)
    return f"{name}: {reason}"


def _is_folder_gone() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False
