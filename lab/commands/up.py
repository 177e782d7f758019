"""`cdnlab up`: in the foreground until Ctrl-C, or detached as soon as the lab is proven to work."""

import secrets
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from lab.agent.starting import start_agent
from lab.clients.management_api import Distribution
from lab.cluster.ending import end_processes
from lab.cluster.interface import Cluster, LabFacts, Stopped
from lab.cluster.state_file import StateDir
from lab.commands.viewer_urls import curl_command, opens_as_it_stands, url_of, why_not
from lab.commands.what_ended import describe_stop
from lab.errors import LabError
from lab.experiments.demo_site import Demo, Wanted, bring_up
from lab.interrupts import endings, interruptible, uninterrupted
from lab.runner import Runner
from lab.terminal import make_console
from lab.topology.choice import TopologyChoice
from lab.topology.model import Topology
from lab.topology.reader import find_topology

WATCH_SECONDS = 0.5
_SEEDS = 1_000_000
"""Short enough to be typed again."""


def run(
    *,
    topology: TopologyChoice,
    runner: Runner,
    is_detached: bool,
    state_dir: Path,
    with_demo: bool,
) -> int:
    console = make_console()
    wanted = Wanted(with_seed(find_topology(topology)), runner, state_dir)
    began = time.monotonic()
    with interruptible():
        lab, demo = bring_up(wanted, lambda text: console.print(text, style="dim"), with_demo=with_demo)
        try:
            start_agent(StateDir(state_dir))
            print_summary(console, lab, demo, time.monotonic() - began)
            if not is_detached:
                watch(console, lab)
        finally:
            if not is_detached:
                with uninterrupted():
                    console.print(describe_stop(_take_down(lab, runner, StateDir(state_dir))))
    return 0


def with_seed(topology: Topology) -> Topology:
    """One is drawn where none was given, so that a run can be repeated all the same."""
    return topology if topology.seed is not None else replace(topology, seed=secrets.randbelow(_SEEDS))


def _take_down(lab: Cluster, runner: Runner, state: StateDir) -> Stopped:
    """The agent of a lab in containers is no container."""
    if runner is Runner.DOCKER:
        end_processes(state, lambda: None)
    return lab.take_down()


def print_summary(console: Console, lab: Cluster, demo: Demo | None, seconds: float) -> None:
    """What is there now and where to go on."""
    facts = lab.facts
    console.print(f"[green]✓[/] {facts.topology}: {len(lab.status().nodes)} nodes are live")
    if demo is not None:
        console.print(f"[green]✓[/] hit through both tiers verified: {demo.hit.sentence}")
    console.print(f"ready after {seconds:.1f} s; its chance repeats with --seed {facts.seed}")
    console.print(f"management API  {facts.endpoint}")
    if demo is not None:
        print_demo_site(console, demo.distribution, facts)


def print_demo_site(console: Console, distribution: Distribution, facts: LabFacts) -> None:
    """The URL to open, or the command that works where it does not."""
    if opens_as_it_stands(facts):
        url = url_of(distribution.domain_name, facts)
        console.print(f"demo site       {url}   ({distribution.id}; at {facts.shared_http})")
        return
    console.print(f"demo site       {curl_command(distribution.domain_name, facts)}   ({distribution.id})")
    console.print(f"                {why_not(facts)}", markup=False)


def watch(console: Console, lab: Cluster) -> None:
    """Prints each change of a node's state until Ctrl-C, or until somebody else has taken the lab down."""
    states = {each.node.id: each.state for each in lab.status().nodes}
    with endings() as is_over:
        console.print("Ctrl-C takes it down")
        while not is_over(WATCH_SECONDS):
            try:
                nodes = lab.status().nodes
            except LabError:
                if lab.is_up:
                    raise
                return
            for each in nodes:
                if states.get(each.node.id) != each.state:
                    change = f"{each.node.id}: {states.get(each.node.id)} -> {each.state}"
                    console.print(f"{time.strftime('%H:%M:%S')} {change}", markup=False)
                states[each.node.id] = each.state
            if not nodes:  # containers, all of them gone
                return
