"""The commands that compare builds. What they do is in lab/commands/."""

from pathlib import Path
from typing import Annotated

import typer

from lab.command_line import Json, run_command
from lab.regression_options import BUILDS, LOOPBACK, Wanted

regression_commands = typer.Typer(rich_markup_mode=None)


@regression_commands.command()
def regress(  # noqa: PLR0913 - each is an option
    first: Annotated[
        str,
        typer.Argument(metavar="[A]", help="A commit, a checkout, or a file of counters: docs/regression.md."),
    ] = "HEAD~1",
    second: Annotated[str, typer.Argument(metavar="[B]", help="What it is compared with, likewise.")] = "HEAD",
    minutes: Annotated[
        float, typer.Option(metavar="N", min=0, max=240, help="For times; as many sessions as fit.")
    ] = 5.0,
    counters: Annotated[
        bool, typer.Option("--counters", help="Only what can be counted; takes half a minute.")
    ] = False,
    see: Annotated[
        float,
        typer.Option(
            metavar="PERCENT", min=0.5, max=100, help="A slow-down that must not be missed; else it is unknown."
        ),
    ] = 5.0,
    sessions: Annotated[int, typer.Option(metavar="N", min=1, max=500, help="At most so many.")] = 500,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results; comparisons/TIME-regress without it.")
    ] = None,
    loopback: Annotated[
        str, typer.Option(metavar="CIDR", help="A /16 of 127.0.0.0/8 for one of the labs; the other has the next one.")
    ] = LOOPBACK,
    json: Json = False,
) -> None:
    """Compare two builds: exact counters first, then times in turns.

    Exit status 0 when the second is equal or better, 1 when it is worse, 2 when that could not be told.

    \b
    Examples:
      cdnlab regress                                   HEAD~1 and HEAD
      cdnlab regress main .                            a branch, and what lies here
      cdnlab regress HEAD HEAD,topology=small.yaml     the same build in another lab
      cdnlab regress counters.json . --counters        as in CI: what was written down once
    """
    run_command(
        "regress",
        first=first,
        second=second,
        wanted=Wanted(0 if counters else minutes * 60, see / 100, sessions, BUILDS, loopback),
        run_directory=run,
        is_json=json,
    )
