"""Completion in shells: typer's own protocol, in which a shell starts `cdnlab` with the words so far in its environment and is answered with the next ones.

typer offers it only with two more options, `--install-completion` and `--show-completion`, of which the first writes to files of the user's.
"""

import os
from enum import StrEnum

import typer.main
from typer.completion import get_completion_inspect_parameters, shell_complete

PROGRAM = "cdnlab"
COMPLETE_VARIABLE = "_CDNLAB_COMPLETE"


class Shell(StrEnum):
    """Those that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def prepare_completion() -> None:
    """Before the command line is run: a shell may be asking."""
    if COMPLETE_VARIABLE in os.environ:
        get_completion_inspect_parameters()


def print_script(application: typer.Typer, shell: Shell) -> int:
    """What the shell has to read once; the exit status."""
    get_completion_inspect_parameters()
    command = typer.main.get_command(application)
    return shell_complete(command, {}, PROGRAM, COMPLETE_VARIABLE, f"source_{shell.value}")
