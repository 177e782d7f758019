"""The commands that make runs, and what they begin with: links that are measured, viewers, reports. What they do is in lab/commands/.

The options that say which lab is meant stand here, too, since `up` and `quickstart` share them.
"""

from pathlib import Path
from typing import Annotated

import typer

from lab.command_line import DEFAULT_STATE, Json, State, run_command, suggest
from lab.runner import Runner
from lab.topology.choice import TopologyChoice

run_commands = typer.Typer(rich_markup_mode=None)
wan = typer.Typer(
    help="The modelled internet between the places of the lab.", no_args_is_help=True, rich_markup_mode=None
)

Loopback = Annotated[
    str | None,
    typer.Option(metavar="CIDR", help="Another /16 of 127.0.0.0/8 for all addresses, so that labs run side by side."),
]
RunnerOption = Annotated[
    Runner,
    typer.Option("--runner", help="Plain processes on loopback, or containers of the Docker engine."),
]
Relays = Annotated[
    bool | None,
    typer.Option(
        "--relays/--no-relays", help="Distance between the places, or none; without it, as the topology says."
    ),
]
Topology = Annotated[
    str | None,
    typer.Argument(
        metavar="TOPOLOGY",
        help="A file (docs/topology.md), or one that ships: default, world, metro, two-tier-failure, tiny.",
    ),
]


@wan.command("check")
def wan_check(
    state: State = DEFAULT_STATE,
    json: Annotated[bool, typer.Option("--json", help="For scripts; docs/cli.md.")] = False,
) -> None:
    """Measure every link, and say what was asked of it.

    Takes a second or two for each link with a bandwidth; exit status 1 when one is off by more than 10 % and 3 ms.

    \b
    Examples:
      cdnlab wan check
      cdnlab wan check --json | jq '.is_off'
    """
    run_command("wan_check", state_dir=state, is_json=json)


@run_commands.command()
def load(
    profile: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE", help="website, api, video, download or mixed.", autocompletion=suggest("profiles")
        ),
    ],
    duration: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long viewers come.")] = 30.0,
    users: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Viewers at once, over all regions; the topology's without it."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results; runs/TIME-PROFILE without it.")
    ] = None,
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Send viewers to the lab, and write a report.

    \b
    Examples:
      cdnlab load website
      cdnlab load video --duration 120 --users 60
    """
    run_command(
        "load",
        profile=profile,
        duration_seconds=duration,
        users=users,
        run_directory=run,
        is_json=json,
        state_dir=state,
    )


@run_commands.command("load-plan")
def load_plan(state: State = DEFAULT_STATE) -> None:
    """Print what Locust has to be told of the lab.

    For who runs Locust by hand, with its own page or distributed: docs/load.md.

    \b
    Examples:
      cdnlab load-plan > plan.json
      locust -f loadtests/api.py --load-plan plan.json
    """
    run_command("load_plan", state_dir=state)


@run_commands.command()
def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A folder, a name under runs/, or `latest`.", autocompletion=suggest("runs")
        ),
    ],
) -> None:
    """Write the report of a run again.

    One self-contained HTML page; prints where it is.

    \b
    Examples:
      cdnlab report latest
      cdnlab report runs/20261121-020304-mixed
    """
    run_command("report", run=run)


@run_commands.command()
def quickstart(  # noqa: PLR0913 - each is an option
    topology: Topology = None,
    runner: RunnerOption = Runner.PROCESSES,
    duration: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long viewers come.")] = 30.0,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results; runs/TIME-quickstart without it.")
    ] = None,
    state: State = DEFAULT_STATE,
    loopback: Loopback = None,
    relays: Relays = None,
) -> None:
    """The whole laboratory in a minute, with a verdict.

    Lab, viewers, an invalidation, a killed edge that comes back, a report. `make lab` runs it.

    \b
    Examples:
      cdnlab quickstart
      cdnlab quickstart --duration 60
    """
    run_command(
        "quickstart",
        topology=TopologyChoice(topology, loopback, relays),
        runner=runner,
        duration_seconds=duration,
        run_directory=run,
        state_dir=state,
    )
