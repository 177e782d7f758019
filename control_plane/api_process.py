"""The management API as a process: a fork of the control plane or, where that one has died, `python -m control_plane.api_process CHANNEL ARGUMENTS...`; only the control
plane itself starts it (`api_child.py`).

Its event loop is its own, so that no client of the API can keep nodes from hearing anything; it shares the database with the process that speaks with them. It listens
on a socket that it was given, and ends when that process ends.
"""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import uvloop
from starlette.types import ASGIApp

from control_plane import process_logs, settings
from control_plane.api_channel import Answered, ApiChannel, Committed, Failed, Serving, Suffered
from control_plane.api_faults import ApiFaults
from control_plane.aws_api.application import Times, create_application, utc_now
from control_plane.aws_api.faulty import suffering
from control_plane.aws_api.records import DOCUMENT_KINDS
from control_plane.connection_limit import limits_for, wanted_descriptors
from control_plane.credentials import read_credentials
from control_plane.database import open_database
from control_plane.deployment import LogDeployment
from control_plane.lab_time import LabTime
from control_plane.ledger import SqlLedger
from control_plane.request_counts import counting
from control_plane.settings import Settings
from control_plane.store import SqlStore
from control_plane.trouble import StoreObserver
from control_plane.web import WebConfig, WebServer
from proto.clock_faults import CLOCK_OFFSET
from proto.descriptor_limit import raise_descriptor_limit
from proto.host_clock import HostClock, host_seconds
from proto.seeds import rng_of

DATABASE_SECONDS = 5.0
"""How long a statement may take, where the database is a server."""

PROCESS_NAME = Path("/proc/self/comm")

NICENESS = 5
"""Nodes first: who waits for the processor with a process that hears them gets a third of it."""

BUSY_MILLISECONDS = 2_000
"""How long a request waits for somebody else's lock on the database."""


@dataclass(frozen=True, slots=True)
class _Reports(StoreObserver):
    """What becomes of this process's writes is the other one's concern."""

    channel: ApiChannel

    def committed(self) -> None:
        """See StoreObserver."""
        self.channel.tell(Committed())

    def failed(self, _reason: str) -> None:
        """See StoreObserver. The request says the reason, in its answer and in the log."""
        self.channel.tell(Failed())


def main() -> NoReturn:
    """Serve until SIGTERM, as a program."""
    process_logs.to_standard_error()
    run(settings.parse(sys.argv[2:]), socket.socket(fileno=int(sys.argv[1])))


def run(chosen: Settings, connection: socket.socket) -> NoReturn:
    """Serve until SIGTERM, and end the process; `connection` is its end of the channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever started this one ends it
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        PROCESS_NAME.write_bytes(
            b"management-api"
        )  # for `ps` and `top`: a fork has the command line of the control plane
    channel = ApiChannel(connection)
    listener = channel.take_listener()
    faults = ApiFaults()
    channel.end_with_parent(faults.told)
    uvloop.run(_serve(chosen, listener, channel, faults))
    os._exit(
        0
    )  # nothing is left to be done, and somebody waits: to take an interpreter apart is a tenth of a second of work


async def _serve(chosen: Settings, listener: socket.socket, channel: ApiChannel, faults: ApiFaults) -> None:
    def wall() -> datetime:
        offset = faults.in_force(CLOCK_OFFSET, host_seconds())
        return utc_now() + timedelta(seconds=0.0 if offset is None else float(offset.parameters["by"]))

    with _store(chosen, channel) as store:
        deployment = LogDeployment(SqlLedger(store), store)
        credentials = read_credentials(chosen)
        times = Times(wall, LabTime(store).look) if chosen.may_have_faults else Times()
        api: ASGIApp = create_application(
            store, deployment, chosen.zone, credentials, times=times, rng=_ids(chosen, store)
        )
        if chosen.may_have_faults:
            api = suffering(api, faults, lambda kind: channel.tell(Suffered(kind)))

        def count(operation: str, outcome: str) -> None:
            channel.tell(Answered(operation, outcome))

        limits = limits_for(raise_descriptor_limit(wanted_descriptors()))
        server = WebServer(WebConfig(counting(api, count), limits.web))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.leave)
        channel.tell(Serving())
        await server.serve([listener])


def _ids(chosen: Settings, store: SqlStore) -> random.Random | None:
    """What ids of resources are drawn from, where a lab repeats itself. A process that is started later draws others, so that none is there twice; where several control
    planes hand them out, nobody could see to that."""
    if chosen.seed is None or chosen.database is not None:
        return None
    with store.view() as transaction:
        there = sum(len(transaction.list(kind)) for kind in DOCUMENT_KINDS)
    return rng_of(chosen.seed, "ids", store.head_index, there)


@contextlib.contextmanager
def _store(chosen: Settings, channel: ApiChannel) -> Iterator[SqlStore]:
    database = open_database(chosen.state_dir, chosen.database, DATABASE_SECONDS)
    clock, reports = HostClock(), _Reports(channel)
    store = SqlStore(database, clock, busy_milliseconds=BUSY_MILLISECONDS, observer=reports, anchor=clock.anchor)
    with contextlib.closing(store):
        yield store


if __name__ == "__main__":
    main()
