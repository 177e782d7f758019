"""The commands that break the lab and heal it: `cdnlab faults ...` and the short forms. What they do is in lab/commands/; docs/faults.md has the catalogue."""

from typing import Annotated

import typer

from lab.command_line import DEFAULT_STATE, Json, Node, State, run_command, suggest

faults = typer.Typer(
    help="Break the lab on purpose, until it heals by itself.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
short_forms = typer.Typer(rich_markup_mode=None)

Lease = Annotated[
    str | None,
    typer.Option("--for", metavar="DURATION", help="Heals after so long, as 30s or 1m30s; 30s without it."),
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A node, role:edge, region:NAME, pop:NAME; /50% or /1?seed=7 for some; commas.",
        autocompletion=suggest("targets"),
    ),
]
AnyTarget = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A node, role:edge, region:NAME, pop:NAME; of links link:A--B, link:A--*, link:*, partition:halves; /50% or /1?seed=7 for some; commas.",
        autocompletion=suggest("targets"),
    ),
]


@faults.command("list")
def list_faults(json: Json = False) -> None:
    """Show every fault that there is, with what it may be told.

    \b
    Examples:
      cdnlab faults list
      cdnlab faults list --json | jq -r '.faults[].name'
    """
    run_command("faults_list", is_json=json)


@faults.command("inject")
def inject(
    fault: Annotated[
        str,
        typer.Argument(metavar="FAULT", help="Its name in `cdnlab faults list`.", autocompletion=suggest("faults")),
    ],
    target: AnyTarget,
    parameters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...", help="What the fault may be told.", autocompletion=suggest("parameters")
        ),
    ] = None,
    lease: Lease = None,
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Inject a fault, for as long as its lease.

    \b
    Examples:
      cdnlab faults inject kill edge-iad89-p1-1 --for 1m30s
      cdnlab faults inject pause role:edge/50% --for 10s
      cdnlab faults inject http-status origin-1 status=500 path=/api/ probability=0.2
      cdnlab faults inject link-delay link:us-east-1--ap-northeast-1 by=200ms --for 20s
      cdnlab faults inject partition halves?seed=7 --for 1m
    """
    run_command(
        "faults_inject", fault=fault, target=target, lease=lease, given=parameters or [], is_json=json, state_dir=state
    )


@faults.command("show")
def show(json: Json = False, state: State = DEFAULT_STATE) -> None:
    """Show what is broken now, and when it heals.

    \b
    Examples:
      cdnlab faults show
      cdnlab faults show --json | jq -r '.faults[].nodes[]'
    """
    run_command("faults_show", is_json=json, state_dir=state)


@faults.command("clear")
def clear(
    fault_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="As in `cdnlab faults show`.", autocompletion=suggest("faults_in_force")),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Heal a fault now.

    \b
    Examples:
      cdnlab faults clear f-3a9c1e
      cdnlab faults clear --all
    """
    run_command("faults_clear", fault_id=fault_id, is_all=everything, is_json=json, state_dir=state)


@short_forms.command()
def kill(node: Target, lease: Lease = None, json: Json = False, state: State = DEFAULT_STATE) -> None:
    """Kill a node, for a while.

    SIGKILL; it is started again when its lease is over.

    \b
    Examples:
      cdnlab kill edge-iad89-p1-1
      cdnlab kill role:edge/1?seed=7 --for 1m
    """
    _inject("kill", node, lease, [], is_json=json, state=state)


@short_forms.command()
def stop(node: Target, lease: Lease = None, json: Json = False, state: State = DEFAULT_STATE) -> None:
    """Stop a node in order, for a while.

    It is started again when its lease is over.

    \b
    Examples:
      cdnlab stop regional-us-east-1-1 --for 1m
    """
    _inject("stop", node, lease, [], is_json=json, state=state)


@short_forms.command()
def pause(node: Target, lease: Lease = None, json: Json = False, state: State = DEFAULT_STATE) -> None:
    """Let a node hang, for a while.

    It goes on when its lease is over.

    \b
    Examples:
      cdnlab pause control-plane --for 10s
    """
    _inject("pause", node, lease, [], is_json=json, state=state)


@short_forms.command()
def restart(node: Target, json: Json = False, state: State = DEFAULT_STATE) -> None:
    """Stop a node and start it again.

    \b
    Examples:
      cdnlab restart edge-iad89-p1-1
    """
    _inject("restart", node, None, [], is_json=json, state=state)


@short_forms.command()
def cut(
    node: Target,
    others: Annotated[
        str, typer.Option("--from", metavar="PLACE|NODE,...", help="From whom: regions, viewers-REGION, nodes.")
    ] = "all",
    direction: Annotated[str, typer.Option("--direction", help="What it hears (in), says (out), or both.")] = "both",
    lease: Lease = None,
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Cut a node off from others, for a while.

    Nothing gets through, and nobody is told. What goes around the relays does, as this command line does.

    \b
    Examples:
      cdnlab cut edge-iad89-p1-1 --for 30s
      cdnlab cut edge-iad89-p1-1 --from control-plane,eu-central-1
    """
    _inject("cut", node, lease, [f"from={others}", f"direction={direction}"], is_json=json, state=state)


@short_forms.command()
def slow(
    origin: Target,
    by: Annotated[
        str, typer.Option("--by", metavar="DURATION", help="How long it waits before each answer.")
    ] = "500ms",
    lease: Lease = None,
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Slow an origin down, for a while.

    It waits before each answer.

    \b
    Examples:
      cdnlab slow origin-1 --by 2s --for 1m
    """
    _inject("http-delay", origin, lease, [f"by={by}"], is_json=json, state=state)


@short_forms.command()
def start(
    node: Node,
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Start a node, or end what keeps it from running.

    \b
    Examples:
      cdnlab start edge-iad89-p1-1
    """
    run_command("start", node_id=node, is_json=json, state_dir=state)


def _inject(fault: str, target: str, lease: str | None, given: list[str], *, is_json: bool, state: object) -> None:
    run_command("faults_inject", fault=fault, target=target, lease=lease, given=given, is_json=is_json, state_dir=state)
