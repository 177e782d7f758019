"""`cdnlab up`: in the foreground until Ctrl-C, or detached as soon as the lab is proven to work."""

import time
from pathlib import Path

from rich.console import Console

from lab.cluster.processes import ProcessLab, Stopped
from lab.experiments.demo_site import Demo, bring_up, site_host
from lab.interrupts import endings, interruptible, uninterrupted
from lab.topology.model import Topology
from lab.topology.reader import read_topology, shipped_topology

WATCH_SECONDS = 0.5


def run(*, topology: Path | None, is_detached: bool, state_dir: Path, loopback: str | None, with_demo: bool) -> int:
    console = Console(highlight=False, soft_wrap=True)
    parsed = read_topology(topology or shipped_topology("default"), loopback)
    began = time.monotonic()
    with interruptible():
        lab, demo = bring_up(parsed, state_dir, lambda text: console.print(text, style="dim"), with_demo=with_demo)
        try:
            print_summary(console, parsed, lab, demo, time.monotonic() - began)
            if not is_detached:
                watch(console, lab)
        finally:
            if not is_detached:
                with uninterrupted():
                    console.print(describe_stop(lab.stop()))
    return 0


def print_summary(console: Console, topology: Topology, lab: ProcessLab, demo: Demo | None, seconds: float) -> None:
    """What is there now and where to go on."""
    record = lab.record
    console.print(f"[green]✓[/] {topology.name}: {len(record.nodes)} nodes are live")
    if demo is not None:
        console.print(f"[green]✓[/] hit through both tiers verified: {demo.hit.sentence}")
    console.print(f"ready after {seconds:.1f} s")
    console.print(f"management API  {record.endpoint}")
    if demo is not None:
        host = site_host(demo.distribution.domain_name, record.viewer_port)
        console.print(f"demo site       http://{host}/   ({demo.distribution.id}; at {record.shared_http})")


def watch(console: Console, lab: ProcessLab) -> None:
    """Prints each change of a node's state until Ctrl-C, or until somebody else has taken the lab down."""
    states = {each.node.id: each.state for each in lab.status().nodes}
    with endings() as is_over:
        console.print("Ctrl-C takes it down")
        while not is_over(WATCH_SECONDS) and (record := lab.state.read()) is not None:
            for each in lab.status_of(record).nodes:
                if states.get(each.node.id) != each.state:
                    change = f"{each.node.id}: {states.get(each.node.id)} -> {each.state}"
                    console.print(f"{time.strftime('%H:%M:%S')} {change}", markup=False)
                states[each.node.id] = each.state


def describe_stop(stopped: Stopped) -> str:
    """What was done, in one line."""
    if not stopped.stopped:
        return "nothing was running"
    killed = f", {stopped.killed} of them killed after the grace period" if stopped.killed else ""
    return f"{stopped.stopped} processes ended in {stopped.seconds:.1f} s{killed}; nothing is left behind"
