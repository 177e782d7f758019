"""Brings up a lab of plain processes on loopback: all at once, and nothing left behind where that fails.

What "ready" means is readiness.py's; which addresses and flags, topology/layout.py's; what can be done with it then, running_processes.py's.
"""

import os
import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import Self

from lab.cluster.claim import claim
from lab.cluster.interface import Say, say_nothing
from lab.cluster.launching import Launch, launch
from lab.cluster.node_configuration import write_configuration
from lab.cluster.node_secrets import write_secrets
from lab.cluster.other_labs import find_other_labs
from lab.cluster.process_identity import identify
from lab.cluster.readiness import wait_until_ready
from lab.cluster.running_processes import RunningProcesses
from lab.cluster.sockets import check_addresses_are_free
from lab.cluster.state_file import StateDir, make_record
from lab.interrupts import uninterrupted
from lab.topology.layout import Layout
from lab.topology.model import Topology

START_SECONDS = 30.0


class ProcessCluster(RunningProcesses):
    """A running lab of processes. For scenarios and tests:

        topology = read_topology(shipped_topology("default"), loopback="127.15.0.0/16")
        with ProcessCluster.up(topology, state_dir) as lab:     # every node is live when this returns
            status = lab.status()                               # LabStatus; .to_json() is `cdnlab status --json`
            lab.kill("edge-iad89-p1-1")                         # or stop, pause, signal: interface.py has them all
            lab.start("edge-iad89-p1-1")                        # the same node again, as it was first started
            lab.wait_until_live("edge-iad89-p1-1")              # leased and caught up
        # everything has ended and the state folder is gone, also when something raised

    `ProcessCluster.attach(state_dir)` is the lab that another command brought up; it is not taken down on exit unless `take_down` is called.
    """

    @classmethod
    def up(cls, topology: Topology, state_dir: Path, say: Say = say_nothing, launch: Launch = launch) -> Self:
        """Starts every node and returns when all are live. LabError, and nothing left running, when that fails."""
        state = StateDir(state_dir)
        layout = Layout(topology, state.path)
        nodes = layout.nodes()
        record = make_record(layout, nodes, sys.executable, secrets.token_hex(8), identify(os.getpid()))
        if ended := claim(state, record, lambda: check_addresses_are_free(nodes, find_other_labs)):
            say(f"ended {ended} process{'' if ended == 1 else 'es'} that an earlier lab had left")
        started = cls(state, launch)
        try:
            write_configuration(layout)
            write_secrets(layout, nodes)
            for node in nodes:
                started.start(node.id)
            say(f"{len(nodes)} processes started")
            wait_until_ready(started.status, started.check_nobody_has_died, START_SECONDS)
            with state.locked():
                state.write(replace(started.record, starter=None))
        except BaseException:
            with uninterrupted():
                started.abandon()
            raise
        return started
