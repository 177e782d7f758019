"""The command that says beforehand what caches would do with a load or a trace. What it does is in lab/commands/predict.py."""

from pathlib import Path
from typing import Annotated

import typer

from lab.command_line import Json, run_command
from lab.load_profiles import LoadChoice
from lab.prediction.asking import PredictionChoice, WhatIfChoice

prediction_commands = typer.Typer(rich_markup_mode=None)

_TIERS = "with or without; both to compare them."


@prediction_commands.command()
def predict(  # noqa: PLR0913 - each is an option
    what: Annotated[
        str,
        typer.Argument(
            metavar="TRACE|PROFILE",
            help="A file of recorded requests; or objects, flash-crowd, cache-busting, conditional or api.",
        ),
    ],
    topology: Annotated[
        str | None,
        typer.Option("--topology", "-t", metavar="TOPOLOGY", help="A file, or one that ships; default without it."),
    ] = None,
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Of a profile: how long viewers come.")
    ] = 30.0,
    users: Annotated[int | None, typer.Option(metavar="N", min=1, help="Of a profile, as of `cdnlab load`.")] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", help="Of a profile: requests a second.")] = None,
    arrivals: Annotated[str, typer.Option(metavar="HOW", help="Of a rate: constant or poisson.")] = "constant",
    options: Annotated[str, typer.Option(metavar="JSON", help="Options of the profile (docs/load.md).")] = "",
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of a profile: that of the lab to be compared with.")
    ] = 0,
    trace_format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="Of the trace; recognised without it.")
    ] = "",
    invalidate: Annotated[
        list[str] | None,
        typer.Option(metavar="SECONDS:PATH", help="So long after the first request; repeatable."),
    ] = None,
    memory: Annotated[
        list[str] | None, typer.Option(metavar="SIZE", help="Of each edge, as 64MiB; repeatable, as all that follow.")
    ] = None,
    regional_memory: Annotated[list[str] | None, typer.Option(metavar="SIZE", help="Of each regional cache.")] = None,
    policy: Annotated[list[str] | None, typer.Option(metavar="NAME", help="What leaves a cache first.")] = None,
    ttl: Annotated[
        list[float] | None, typer.Option(metavar="SECONDS", help="The lifetime of all that may be stored.")
    ] = None,
    pops: Annotated[list[int] | None, typer.Option(metavar="N", help="Only the first N of the topology.")] = None,
    regional: Annotated[list[str] | None, typer.Option(metavar="WHICH", help=f"The regional tier: {_TIERS}")] = None,
    shield: Annotated[
        list[str] | None, typer.Option(metavar="REGION", help="One more cache there, in front of the origin; or none.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw miss-ratio curves over the memory of an edge: .svg or .html."),
    ] = None,
    json: Json = False,
) -> None:
    """Say what caches would do with a trace, or with a load, without a lab.

    Every tier is simulated with the eviction and freshness code of the edge nodes. Options that are given more than once are compared, in all combinations.

    \b
    Examples:
      cdnlab predict objects --rate 200 --duration 60
      cdnlab predict access-log.csv --topology world
      cdnlab predict access-log.csv --memory 16MiB --memory 64MiB --policy lru --policy s3fifo
      cdnlab predict access-log.csv --regional with --regional without --plot curves.html
    """
    what_if = WhatIfChoice(
        memory or [], regional_memory or [], policy or [], ttl or [], pops or [], regional or [], shield or []
    )
    load = LoadChoice(what, duration, users, rate, arrivals, options)
    run_command(
        "predict",
        wanted=PredictionChoice(load, topology, seed, trace_format, invalidate or [], what_if, plot),
        is_json=json,
    )
