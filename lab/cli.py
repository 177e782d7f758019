"""The command line: names, options, help. What a command does is in lab/commands/, loaded when it is run, so that help is instant."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from lab.command_line import DEFAULT_STATE, Json, Node, State, run_command, run_program, suggest
from lab.fault_commands import faults, short_forms
from lab.prediction_commands import prediction_commands
from lab.regression_commands import regression_commands
from lab.run_commands import Loopback, Relays, RunnerOption, Seed, Topology, run_commands, wan
from lab.runner import Runner
from lab.shells import COMPLETE_VARIABLE, Shell, prepare_completion, print_script
from lab.time_commands import time_commands
from lab.topology.choice import TopologyChoice

app = typer.Typer(
    name="cdnlab",
    help="A content delivery network that fits in a laptop.",
    epilog="First steps: cdnlab up --detach, cdnlab status, cdnlab explain /index.html, cdnlab down.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(faults, name="faults")
app.add_typer(short_forms)
app.add_typer(run_commands)
app.add_typer(prediction_commands)
app.add_typer(regression_commands)
app.add_typer(wan, name="wan")
app.add_typer(time_commands, name="time")

Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return as soon as it is ready; `cdnlab down` ends it.")]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"cdnlab {version('cdnlab')}")
        raise typer.Exit


@app.callback()
def all_commands(
    is_version_wanted: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A content delivery network that fits in a laptop."""


@app.command()
def up(  # noqa: PLR0913 - each is an option
    topology: Topology = None,
    runner: RunnerOption = Runner.PROCESSES,
    detach: Detach = False,
    state: State = DEFAULT_STATE,
    loopback: Loopback = None,
    relays: Relays = None,
    seed: Seed = None,
    demo: Annotated[
        bool, typer.Option("--demo/--no-demo", help="Put a distribution in front of the first origin and verify a hit.")
    ] = True,
) -> None:
    """Bring a lab up, and verify a hit in both tiers.

    Every node is a plain process with an address of its own on loopback, without root and without Docker; or a container, with --runner docker.

    \b
    Examples:
      cdnlab up                          in the foreground; Ctrl-C takes it down
      cdnlab up --detach                 returns when it is ready
      cdnlab up world --detach           13 POPs on six continents
      cdnlab up my.yaml --state /tmp/b --loopback 127.1.0.0/16
                                         a second lab beside the first
      cdnlab up --seed 7                 chance falls as it did the last time
      cdnlab up --runner docker my.yaml --detach
                                         the same topology in containers
    """
    run_command(
        "up",
        topology=TopologyChoice(topology, loopback, relays, seed),
        runner=runner,
        is_detached=detach,
        state_dir=state,
        with_demo=demo,
    )


@app.command()
def status(
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Show the nodes and distributions of the lab, and what is broken.

    It finds what `cdnlab up` has started from here, else the containers of `docker compose up`.

    \b
    Examples:
      cdnlab status
      cdnlab status --json | jq -r '.nodes[] | select(.role == "edge") | .http'
    """
    run_command("status", state_dir=state, is_json=json)


@app.command()
def down(json: Json = False, state: State = DEFAULT_STATE) -> None:
    """Take the lab down and leave nothing behind.

    Processes have ended within 1.5 seconds; containers go with their networks and volumes. Without a lab from here, those of `docker compose up` are
    taken down, and keep their volumes. Does nothing when none is up.

    \b
    Examples:
      cdnlab down
      cdnlab down --state /tmp/b
    """
    run_command("down", is_json=json, state_dir=state)


@app.command()
def serve(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of an application on this machine.")],
    detach: Detach = False,
    state: State = DEFAULT_STATE,
    loopback: Loopback = None,
    json: Json = False,
) -> None:
    """Put a CDN in front of a local application.

    Prints the URL to open. Uses the lab that is up, or brings up the smallest one. The application's own Cache-Control decides what is cached.

    \b
    Examples:
      cdnlab serve http://127.0.0.1:3000
      cdnlab serve http://127.0.0.1:3000/app --detach
    """
    run_command("serve", url=url, is_detached=detach, is_json=json, state_dir=state, loopback=loopback)


@app.command()
def logs(
    node: Node,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C or the node's end.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="How many to begin with.")] = 50,
    state: State = DEFAULT_STATE,
) -> None:
    """Show what a node has logged.

    \b
    Examples:
      cdnlab logs control-plane
      cdnlab logs edge-iad89-p1-1 --follow --lines 5
    """
    run_command("logs", node_id=node, is_followed=follow, count=lines, state_dir=state)


@app.command()
def explain(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="Or only a path, if there is one distribution.", autocompletion=suggest("urls")
        ),
    ],
    edge: Annotated[
        str | None,
        typer.Option(
            metavar="NODE", help="Whom to ask; the first live edge without it.", autocompletion=suggest("caches")
        ),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Of the request; repeatable.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-X", metavar="METHOD")] = "GET",
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Say what would happen to a request, and why.

    Tier by tier, without sending it: distribution, behavior, key, decision, freshness, and what would make it a hit.

    \b
    Examples:
      cdnlab explain http://d111111abcdef8.cdn.localhost:8080/images/1.svg
      cdnlab explain /index.html --edge edge-fra56-p1-1
      cdnlab explain '/api/products?page=2' -H 'Accept-Encoding: gzip'
    """
    run_command("explain", url=url, edge_id=edge, headers=header or [], method=method, is_json=json, state_dir=state)


@app.command()
def invalidate(
    distribution: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Of a distribution, as in `cdnlab status`.", autocompletion=suggest("distributions")
        ),
    ],
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Each begins with /; * only at the end, and in quotes for your shell."),
    ],
    literal: Annotated[
        bool, typer.Option("--literal", help="Also paths that look like what a shell has made of an unquoted *.")
    ] = False,
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Invalidate paths and print the receipt.

    Waits until every live node has confirmed, and shows when each did.

    \b
    Examples:
      cdnlab invalidate E1ABCDEFGHIJKL '/*'
      cdnlab invalidate E1ABCDEFGHIJKL /index.html '/images/*'
    """
    run_command(
        "invalidate",
        distribution_id=distribution,
        paths=paths,
        is_literal=literal,
        is_json=json,
        state_dir=state,
    )


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write; not there yet.")],
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Copy the control plane's database while it runs.

    All that is configured, the change log and the receipts, as of one moment.

    \b
    Examples:
      cdnlab backup before-the-change.sqlite3
    """
    run_command("backup", file=file, is_json=json, state_dir=state)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="That `cdnlab backup` has written.")],
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Put a backup in place of the control plane's database.

    The lab stays up and serves; its control plane is away until every lease is over. What was changed or invalidated after the backup is lost, and
    every cache starts over: what it stored may be older than an invalidation that the backup does not know.

    \b
    Examples:
      cdnlab restore before-the-change.sqlite3
    """
    run_command("restore", file=file, is_json=json, state_dir=state)


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print what lets your shell complete cdnlab's words.

    Commands, options, and the nodes, distributions and faults of the lab that runs.

    \b
    Examples:
      source <(cdnlab completion bash)            in ~/.bashrc, to have it always
      source <(cdnlab completion zsh)             in ~/.zshrc, behind `autoload -Uz compinit && compinit`
      cdnlab completion fish | source             in ~/.config/fish/config.fish
    """
    raise typer.Exit(print_script(app, shell))


def main() -> None:
    """The entry point of `cdnlab`."""
    prepare_completion()
    run_program(lambda: app(complete_var=COMPLETE_VARIABLE))


if __name__ == "__main__":
    main()
