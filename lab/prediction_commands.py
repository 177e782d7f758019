"""The command that says beforehand what caches would do with a load or a trace. What it does is in lab/commands/predict.py."""

from pathlib import Path
from typing import Annotated

import typer

from lab.command_line import Json, run_command
from lab.load_profiles import LoadChoice
from lab.prediction.asking import PredictionChoice, WhatIfChoice

prediction_commands = typer.Typer(rich_markup_mode=None)

What = Annotated[
    str,
    typer.Argument(
        metavar="TRACE|PROFILE",
        help="A file of recorded requests; or objects, flash-crowd, cache-busting, conditional or api.",
    ),
]
Topology = Annotated[
    str | None,
    typer.Option("--topology", "-t", metavar="TOPOLOGY", help="A file, or one that ships; default without it."),
]
Duration = Annotated[float, typer.Option(metavar="SECONDS", min=1, help="Of a profile: how long viewers come.")]
Users = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Of a profile: viewers at once; the topology's without it.")
]
Rate = Annotated[float | None, typer.Option(metavar="N", help="Of a profile: requests a second of all viewers.")]
Arrivals = Annotated[str, typer.Option(metavar="HOW", help="Of a rate: constant or poisson.")]
Options = Annotated[str, typer.Option(metavar="JSON", help="Options of the profile; docs/load.md has them.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of a profile: that of the lab to compare with.")]
Format = Annotated[str, typer.Option("--format", metavar="NAME", help="Of the trace; recognised without it.")]
Invalidate = Annotated[
    list[str] | None, typer.Option(metavar="SECONDS:PATH", help="So long after the beginning; repeatable.")
]
Memory = Annotated[
    list[str] | None, typer.Option(metavar="SIZE", help="Of each edge, as 64MiB; repeatable, as all that follow.")
]
RegionalMemory = Annotated[list[str] | None, typer.Option(metavar="SIZE", help="Of each regional cache.")]
Policy = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Of eviction: fifo, lru, s3fifo, sieve or wtinylfu.")
]
Ttl = Annotated[list[float] | None, typer.Option(metavar="SECONDS", help="The lifetime of all that may be stored.")]
Pops = Annotated[list[int] | None, typer.Option(metavar="N", help="Only the first N of the topology.")]
Regional = Annotated[list[str] | None, typer.Option(metavar="WHICH", help="The regional tier: with or without.")]
Shield = Annotated[
    list[str] | None, typer.Option(metavar="REGION", help="One more cache there, in front of the origin; or none.")
]
Plot = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw miss-ratio curves over the memory of an edge: .svg or .html.")
]


@prediction_commands.command()
def predict(  # noqa: PLR0913 - each is an option
    what: What,
    topology: Topology = None,
    duration: Duration = 30.0,
    users: Users = None,
    rate: Rate = None,
    arrivals: Arrivals = "constant",
    options: Options = "",
    seed: Seed = 0,
    trace_format: Format = "",
    invalidate: Invalidate = None,
    memory: Memory = None,
    regional_memory: RegionalMemory = None,
    policy: Policy = None,
    ttl: Ttl = None,
    pops: Pops = None,
    regional: Regional = None,
    shield: Shield = None,
    plot: Plot = None,
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
    load = LoadChoice(what, duration, users, rate, arrivals, options)
    what_if = WhatIfChoice(
        memory or [], regional_memory or [], policy or [], ttl or [], pops or [], regional or [], shield or []
    )
    asked = PredictionChoice(load, topology, seed, trace_format, invalidate or [], what_if, plot)
    run_command("predict", wanted=asked, is_json=json)
