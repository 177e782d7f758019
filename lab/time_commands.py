"""The commands about the lab's clock: `cdnlab time ...`. What they do is in lab/commands/; docs/time-travel.md has what moves and what does not."""

from typing import Annotated

import typer

from lab.command_line import DEFAULT_STATE, Json, State, run_command

time_commands = typer.Typer(
    help="Move the lab's clock: a TTL of a day is over in seconds.", no_args_is_help=True, rich_markup_mode=None
)


@time_commands.command("forward")
def forward(
    duration: Annotated[str, typer.Argument(metavar="DURATION", help="How far, as 1d, 36h or 1m30s.")],
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Move the clock of every node and origin forward.

    Everything that is stored is older by as much. Waits until every live node has acknowledged it. There is no way back but a new lab.

    \b
    Examples:
      cdnlab time forward 1d
      cdnlab time forward 1d1s --json | jq .index
    """
    run_command("time_forward", duration=duration, is_json=json, state_dir=state)


@time_commands.command("show")
def show(json: Json = False, state: State = DEFAULT_STATE) -> None:
    """Show what time it is in the lab, by each of its programs.

    \b
    Examples:
      cdnlab time show
      cdnlab time show --json | jq .time
    """
    run_command("time_show", is_json=json, state_dir=state)
