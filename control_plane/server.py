"""One control plane: opens the store, binds the three ports, runs everything in one task group, and ends in order on SIGTERM or SIGINT.

This process speaks with the nodes and the operators. The management API is answered by another one (`api_child.py`), over the same database. Whether it leads is
`roles.py`'s affair.
"""

import asyncio
import contextlib
import importlib
import logging
import signal
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from starlette.types import ASGIApp

from control_plane.admin import Admin, guarded, not_yet
from control_plane.admission import Admission
from control_plane.api_channel import Answered, ApiEvent, Committed, Failed, Suffered
from control_plane.api_child import ApiChild, StartedApi
from control_plane.api_faults import encode
from control_plane.connection_limit import limits_for, wanted_descriptors
from control_plane.coordination import Coordinator
from control_plane.credentials import CredentialsError, read_credentials
from control_plane.database import open_database
from control_plane.grpc_port import GrpcPort
from control_plane.history import DirectoryHistory
from control_plane.injected_faults import API_KINDS, KINDS
from control_plane.lab_time import PATH as CLOCK_PATH
from control_plane.lab_time import LabTime
from control_plane.listening import ListenError, listen_soon
from control_plane.metrics import ControlMetrics, Gauges
from control_plane.node_faults import port_for_nodes
from control_plane.published_tables import PublishedTables, TableError
from control_plane.relay import NodeService
from control_plane.roles import Leading, Roles
from control_plane.settings import Address, Settings
from control_plane.state import StoreError
from control_plane.store import SqlStore
from control_plane.term import TermMaker
from control_plane.web import WebConfig, WebServer
from proto.admin_access import AdminAccess
from proto.clock_faults import DriftingHostClock
from proto.descriptor_limit import raise_descriptor_limit
from proto.fault_port import FaultPort
from proto.history_recorder import HistoryRecorder
from proto.host_clock import HostClock
from proto.mutual_tls import TlsFilesError, TlsIdentity
from proto.seeds import derived

STOP_GRACE_SECONDS = 0.2
"""Streams are cut after it; nodes connect again by themselves."""

DATABASE_SECONDS = 0.8
"""How long one statement of this process may take, where the database is a server: all nodes wait with it."""

LEADER_LOOK_SECONDS = 0.3
"""How often a control plane that waits for a leader looks whether there is one."""

HEAD_SECONDS = 0.2
"""How old the head of the log may be that a follower shows: to read it is three questions to the database, and all nodes wait with them."""

NODE_NAME = "control-plane"
"""As the lab, compose and `/status` call it."""

_ELECTION = "control_plane.election"
"""Loaded only where there is a server: it needs the driver."""

_logger = logging.getLogger("control-plane")


class StartError(Exception):
    """The control plane cannot start; the message says why."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the whole process shares."""

    settings: Settings
    store: SqlStore
    roles: Roles
    metrics: ControlMetrics
    nodes: GrpcPort
    admin: Admin
    most_web_connections: int
    listen: Callable[[], Any] | None
    """Hears what other control planes announce; None: there is no other."""
    first_api: StartedApi | None
    faults: FaultPort | None
    """None: none may be injected."""
    history: HistoryRecorder | None
    """None: none is kept."""


async def serve(settings: Settings, first_api: StartedApi | None = None) -> None:
    """Run until a signal; `first_api` is a process for the management API, where one is there already."""
    try:
        await _serve(settings, first_api)
    except (TableError, CredentialsError, TlsFilesError) as error:
        raise StartError(str(error)) from error


async def _serve(settings: Settings, first_api: StartedApi | None) -> None:
    faults = _faults(settings)
    clock = HostClock() if faults is None else DriftingHostClock(faults)
    tls = _read_tls(settings.tls_dir)
    read_credentials(
        settings
    )  # here, so that a file that cannot be used is one message and no process that dies again and again
    tables = PublishedTables.read(settings)
    database = open_database(settings.state_dir, settings.database, DATABASE_SECONDS)
    with contextlib.closing(SqlStore(database, clock, anchor=clock.anchor)) as store:
        admission = Admission(settings.zone, is_certified=tls is not None)
        election: Any = None if settings.database is None else importlib.import_module(_ELECTION)
        history = _open_history(settings.history)
        fence = None if election is None else election.fence
        maker = TermMaker(settings, store, clock, admission, tables, fence, history)

        def leading() -> Leading | None:
            return roles.leading

        def failed_handshakes() -> int:
            return port.failed_handshakes_total

        metrics = ControlMetrics(_gauges(store, admission, leading, failed_handshakes))
        advertised = str(settings.advertise or settings.grpc)
        seats = None if election is None else election.Election(settings.database, uuid.uuid4().hex, advertised)
        roles = Roles(partial(maker.begin, metrics), clock, seats, advertised)
        admin = Admin(settings.zone, store, roles, clock, None if faults is None else LabTime(store))
        limits = limits_for(raise_descriptor_limit(wanted_descriptors()))
        service = NodeService(roles, admission, tls)
        port = port_for_nodes(service.serve, limits.grpc, tls, admission.may_pass_on, faults)

        head = _HeadForPeople(store, roles)

        def heard_news() -> None:
            head.look_soon()
            roles.heard_news()

        listen = None if election is None else partial(election.listen, settings.database, heard_news)
        recorder = None if history is None else history.recorder
        parts = _Parts(settings, store, roles, metrics, port, admin, limits.web, listen, first_api, faults, recorder)
        await _run(parts)


class _HeadForPeople:
    """How far the log is, at a follower, which needs it for `/status` only: looked at once for all that is committed within `HEAD_SECONDS`."""

    def __init__(self, store: SqlStore, roles: Roles) -> None:
        self._store = store
        self._roles = roles
        self._is_planned = False

    def look_soon(self) -> None:
        """There is news of it."""
        if not self._is_planned and self._roles.leading is None:
            self._is_planned = True
            asyncio.get_running_loop().call_later(HEAD_SECONDS, self._look)

    def _look(self) -> None:
        self._is_planned = False
        if self._roles.leading is not None:
            return  # it goes through the log entry by entry, and none may be left out
        try:
            self._store.start_at_head()
        except StoreError as error:
            _logger.warning("%s", error)


def _faults(settings: Settings) -> FaultPort | None:
    if not settings.may_have_faults:
        return None
    return FaultPort(KINDS, seed=None if settings.seed is None else derived(settings.seed, NODE_NAME))


def _gauges(
    store: SqlStore, admission: Admission, leading: Callable[[], Leading | None], failed_handshakes: Callable[[], int]
) -> Gauges:
    def coordinator() -> Coordinator | None:
        now = leading()
        return None if now is None else now.coordinator

    return Gauges(
        coordinator=coordinator,
        head_index=lambda: store.head_index,
        takes_writes=lambda: store.trouble is None,
        refused_total=lambda: admission.refused_total,
        failed_handshakes_total=failed_handshakes,
    )


def _stop_on_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT from now on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _run(parts: _Parts) -> None:
    stop = _stop_on_signal()
    settings, admin, port = parts.settings, parts.admin, parts.nodes
    with contextlib.ExitStack() as sockets:
        try:
            api_socket = sockets.enter_context(await listen_soon(settings.api))
            admin_socket = sockets.enter_context(await listen_soon(settings.admin))
            await _start_grpc(settings.grpc, port)
        except ListenError as error:
            raise StartError(str(error)) from error
        api = ApiChild(api_socket, settings.arguments, _api_listener(parts), parts.first_api)
        if parts.faults is not None:
            _tell_faults(parts.faults, api)
        server = WebServer(WebConfig(_operators(parts), parts.most_web_connections))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(parts.roles.run()), group.create_task(run_api(api, parts.roles))]
                if parts.listen is not None:
                    tasks.append(group.create_task(parts.listen()))
                if parts.history is not None:
                    tasks.append(group.create_task(_keep_history(parts.history)))
                group.create_task(server.serve([admin_socket]))
                admin.is_serving = lambda: api.is_serving
                how = "with certificates" if settings.tls_dir else "whoever connects is a node"
                _logger.info("api %s, grpc %s (%s), admin %s", settings.api, settings.grpc, how, settings.admin)
                await stop.wait()
                admin.is_serving = not_yet
                api.leave()
                await port.enter_graceful_shutdown()
                server.leave()
                for task in tasks[:1] + tasks[2:]:
                    task.cancel()  # ends the streams
                await port.stop(STOP_GRACE_SECONDS)
        finally:
            await port.stop(None)
    _logger.info("stopped")


class KnownLeader(Protocol):
    """The part of `roles.Roles` that says whether somebody leads."""

    @property
    def leading(self) -> object | None: ...
    @property
    def leader_address(self) -> str | None: ...
    async def change(self) -> None: ...


async def run_api(api: ApiChild, roles: "KnownLeader") -> None:
    """Not before somebody leads: a restored copy is another log first."""
    while roles.leading is None and roles.leader_address is None and not api.is_leaving:
        changed = asyncio.ensure_future(roles.change())
        left = asyncio.ensure_future(api.left())
        # Who leads is known for as long as it is renewed, of which nobody is told: so it is also looked at.
        await asyncio.wait((changed, left), timeout=LEADER_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        left.cancel()
    await api.run()


def _operators(parts: _Parts) -> ASGIApp:
    access = AdminAccess([NODE_NAME, socket.gethostname(), parts.settings.admin.host])
    ports = {"/faults": parts.faults, CLOCK_PATH: parts.faults, "/history": parts.history}
    json_paths = [path for path, port in ports.items() if port is not None]
    return guarded(parts.admin.application(parts.metrics, parts.faults, parts.history), access, json_paths)


def _open_history(folder: Path | None) -> DirectoryHistory | None:
    try:
        return None if folder is None else DirectoryHistory(folder, NODE_NAME)
    except OSError as error:
        raise StartError(f"--history: {folder} cannot be used: {error.strerror}") from error


async def _keep_history(recorder: HistoryRecorder) -> None:
    """Until cancelled."""
    recorder.resume()
    try:
        await recorder.run()
    finally:
        recorder.close()


def _tell_faults(faults: FaultPort, api: ApiChild) -> None:
    """The management API is told of those that are its own, whenever they change."""

    def tell() -> None:
        api.tell_faults(encode(fault for kind in API_KINDS if (fault := faults.in_force(kind.name)) is not None))

    for kind in API_KINDS:
        faults.when_changed(kind.name, tell)


def _api_listener(parts: _Parts) -> Callable[[ApiEvent], None]:
    """What follows from what the process of the management API tells."""

    def told(event: ApiEvent) -> None:
        match event:
            case Committed():
                parts.roles.heard_news()
            case Failed():
                parts.store.try_to_write()  # says what is wrong, where it is wrong here as well
            case Answered(operation, outcome):
                parts.metrics.request_answered(operation, outcome)
            case Suffered(kind):
                fault = None if parts.faults is None else parts.faults.in_force(kind)
                if fault is not None:
                    fault.times += 1

    return told


async def _start_grpc(address: Address, port: GrpcPort) -> None:
    (await listen_soon(address)).close()  # says clearly what is wrong, which gRPC does not
    try:
        await port.start(str(address))
    except RuntimeError as error:
        raise StartError(f"cannot listen on {address}: {error}") from error


def _read_tls(folder: Path | None) -> TlsIdentity | None:
    try:
        return None if folder is None else TlsIdentity.read(folder)
    except TlsFilesError as error:
        raise StartError(f"--tls-dir: {error}") from error
