"""The commands that make runs, and what they begin with: links that are measured, viewers, reports. What they do is in lab/commands/.

The options that say which lab is meant stand here, too, since `up` and `quickstart` share them.
"""

from pathlib import Path
from typing import Annotated

import typer

from lab.command_line import DEFAULT_STATE, Json, State, run_command, suggest
from lab.load_profiles import PROFILES, LoadChoice
from lab.run_options import RunOptions, ShrinkChoice
from lab.runner import Runner
from lab.topology.choice import TopologyChoice
from proto.seeds import MOST_SEED

LONGEST_SECONDS = 86_400
"""A day, as of a scenario."""

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
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        max=MOST_SEED,
        help="Every random choice repeats with it; without it one is drawn, and printed.",
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
def load(  # noqa: PLR0913 - each is an option
    profile: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE", help=f"{', '.join(PROFILES[:-1])} or {PROFILES[-1]}.", autocompletion=suggest("profiles")
        ),
    ],
    duration: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long viewers come.")] = 30.0,
    users: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Viewers at once, over all regions; the topology's without it."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="Requests a second of all viewers together; without it each pauses as people do."
        ),
    ] = None,
    arrivals: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="Of a rate: constant, or poisson: at random times, as independent people come."
        ),
    ] = "constant",
    options: Annotated[
        str, typer.Option(metavar="JSON", help="Options of the profile, a JSON object; docs/load.md has them.")
    ] = "",
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
      cdnlab load api --rate 200 --arrivals poisson
      cdnlab load objects --options '{"path": "/download/item-{n}?size=20KiB", "count": 500}'
    """
    run_command(
        "load",
        wanted=LoadChoice(profile, duration, users, rate, arrivals, options),
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


@run_commands.command("run")
def run_scenario(  # noqa: PLR0913 - each is an option
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO",
            help="A file (docs/scenarios.md), or one that ships: `cdnlab scenarios`.",
            autocompletion=suggest("scenarios"),
        ),
    ],
    topology: Annotated[
        str | None,
        typer.Option("--topology", metavar="TOPOLOGY", help="In place of the scenario's: a file, or one that ships."),
    ] = None,
    runner: RunnerOption = Runner.PROCESSES,
    duration: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=1, max=LONGEST_SECONDS, help="How long viewers come; the steps' times go with it."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="For other random choices, or the same ones again.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done and when, and do nothing.")] = False,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results; runs/TIME-SCENARIO without it.")
    ] = None,
    state: State = DEFAULT_STATE,
    loopback: Loopback = None,
    relays: Relays = None,
) -> None:
    """Run an experiment: lab, viewers, faults, a verdict.

    Exit status 0 when the verdict is what the scenario expects, 1 when it is invalid, 2 when it is unknown.

    \b
    Examples:
      cdnlab run quickstart
      cdnlab run edge-loss --runner docker
      cdnlab run mine.yaml --plan
    """
    run_command(
        "run_scenario",
        wanted=scenario,
        options=RunOptions(state, run, runner, TopologyChoice(topology, loopback, relays), duration, seed),
        is_plan=plan,
    )


@run_commands.command()
def shrink(  # noqa: PLR0913 - each is an option
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A folder, a name under runs/, or `latest`.", autocompletion=suggest("runs")
        ),
    ],
    check: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What must fail again, perhaps several times; without it all that failed."),
    ] = None,
    most: Annotated[int, typer.Option(metavar="N", min=1, help="Smaller experiments to try at most.")] = 20,
    tries: Annotated[
        int, typer.Option(metavar="N", min=1, help="Runs of each, before it counts as one that does not fail.")
    ] = 1,
    within: Annotated[
        str, typer.Option(metavar="DURATION", help="No experiment is begun later than that, as in 30m.")
    ] = "1h",
    loopback: Loopback = None,
    state: State = DEFAULT_STATE,
) -> None:
    """Find the smallest experiment that fails as a run has failed.

    Fewer steps, then less time, then fewer viewers; RUN/shrink/smallest.yaml has it, also after Ctrl-C. Exit status 1 when nothing smaller fails.

    \b
    Examples:
      cdnlab shrink latest
      cdnlab shrink latest --check errors --most 40 --tries 2 --within 30m
    """
    choice = ShrinkChoice(tuple(check or ()), most, tries, within, loopback)
    run_command("shrink", run=run, choice=choice, state_dir=state)


@run_commands.command()
def scenarios(json: Json = False) -> None:
    """List the scenarios that ship.

    \b
    Examples:
      cdnlab scenarios
      cdnlab scenarios --json | jq -r '.scenarios[].name'
    """
    run_command("scenarios", is_json=json)


@run_commands.command()
def query(  # noqa: PLR0913 - each is an option
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A folder, a name under runs/, or `latest`.", autocompletion=suggest("runs")
        ),
    ],
    question: Annotated[str | None, typer.Argument(metavar="SQL", help="One SELECT, in quotes.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For scripts: an object a line.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="For spreadsheets.")] = False,
    all_rows: Annotated[bool, typer.Option("--all", help="Every row; the first 1000 without it.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables.")] = False,
    schema: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="List the columns of a table.", autocompletion=suggest("history_tables")),
    ] = None,
) -> None:
    """Ask the history of a run, in SQL.

    What viewers asked and got, what each tier answered and fetched, faults, invalidations: docs/history.md has the tables, and examples.

    \b
    Examples:
      cdnlab query latest "select result, count(*) from served group by all"
      cdnlab query latest --schema requests
    """
    run_command(
        "query", run=run, question=question, forms=(json, csv), is_all=all_rows, schema="" if tables else schema
    )


@run_commands.command()
def quickstart(  # noqa: PLR0913 - each is an option
    topology: Topology = None,
    runner: RunnerOption = Runner.PROCESSES,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=1, max=LONGEST_SECONDS, help="How long viewers come.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results; runs/TIME-quickstart without it.")
    ] = None,
    state: State = DEFAULT_STATE,
    loopback: Loopback = None,
    relays: Relays = None,
    seed: Seed = None,
) -> None:
    """The whole laboratory in a minute, with a verdict.

    Lab, viewers, an invalidation, a killed edge that comes back, a report: `cdnlab run quickstart`.

    \b
    Examples:
      cdnlab quickstart
      cdnlab quickstart --duration 60
    """
    run_command(
        "run_scenario",
        wanted="quickstart",
        options=RunOptions(state, run, runner, TopologyChoice(topology, loopback, relays, seed), duration),
        is_plan=False,
    )
