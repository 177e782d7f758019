"""One control plane: opens the store, binds the three ports, runs everything in one task group, and ends in order on SIGTERM or SIGINT.

This process speaks with the nodes and the operators. The management API is answered by another one (`api_child.py`), over the same database.
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format
from starlette.types import ASGIApp

from control_plane.admin import Admin, guarded, not_yet
from control_plane.admission import Admission
from control_plane.api_channel import Answered, ApiEvent, Committed, Failed
from control_plane.api_child import ApiChild
from control_plane.clock import SteadyClock
from control_plane.connection_limit import raise_descriptor_limit
from control_plane.coordination import Coordinator
from control_plane.credentials import CredentialsError, read_credentials
from control_plane.geo_table import MAXIMUM_GEO_TABLE_BYTES, GeoTableError, default_geo_table, parse_geo_table
from control_plane.grpc_port import GrpcPort
from control_plane.leases import LeaseRules, counted_seconds
from control_plane.ledger import SqlLedger
from control_plane.metrics import ControlMetrics, StoreGauges
from control_plane.settings import Address, Settings
from control_plane.state import PutGeoTable, PutRoutingTable
from control_plane.store import SqlStore
from control_plane.sync import SyncService
from control_plane.web import WebConfig, WebServer
from proto.admin_access import AdminAccess
from proto.cdn.v1 import configuration_pb2
from proto.mutual_tls import TlsFilesError, TlsIdentity

STOP_GRACE_SECONDS = 0.2
"""Streams are cut after it; nodes connect again by themselves."""

NODE_NAME = "control-plane"
"""As the lab, compose and `/status` call it."""

ADDRESS_SECONDS = 0.5
ADDRESS_PAUSE_SECONDS = 0.02
"""How long an address that is in use is waited for, and between two attempts."""

SILENT_BEATS = 3
"""A stream is closed when its node has been silent for so many beats on top of a whole lease."""

_logger = logging.getLogger("control-plane")


class StartError(Exception):
    """The control plane cannot start; the message says why."""


async def serve(settings: Settings) -> None:
    """Run until a signal."""
    clock = SteadyClock()
    tls = _read_tls(settings.tls_dir)
    _check_credentials(settings)
    with contextlib.closing(SqlStore(settings.state_dir, clock)) as store:
        if store.is_copy and not await _take_over(store, settings):
            return
        _publish_routing_table(store, settings)
        _publish_geo_table(store, settings)
        ledger = SqlLedger(store)
        coordinator = Coordinator(ledger, LeaseRules(settings.lease_seconds), clock())
        admission = Admission(settings.zone, is_certified=tls is not None)
        gauges = StoreGauges(lambda: store.head_index, lambda: store.trouble is None)
        metrics = ControlMetrics(coordinator, gauges, lambda: admission.refused_total)
        silence_seconds = settings.lease_seconds + SILENT_BEATS * settings.heartbeat_seconds
        sync = SyncService(
            store,
            coordinator,
            clock,
            admission,
            silence_seconds=silence_seconds,
            on_completed=metrics.invalidation_completed,
        )
        admin = Admin(settings.zone, store, coordinator, ledger, clock)
        access = AdminAccess([NODE_NAME, socket.gethostname(), settings.admin.host])
        application = guarded(admin.application(metrics, sync), access)
        await _run(settings, _Nodes(sync, tls), _Operators(application, admin, _api_listener(store, sync, metrics)))


def _check_credentials(settings: Settings) -> None:
    """Here, so that a file that cannot be used is one message and no process that dies again and again."""
    try:
        read_credentials(settings)
    except CredentialsError as error:
        raise StartError(str(error)) from error


def _api_listener(store: SqlStore, sync: SyncService, metrics: ControlMetrics) -> Callable[[ApiEvent], None]:
    """What follows from what the process of the management API tells."""

    def told(event: ApiEvent) -> None:
        match event:
            case Committed():
                sync.log_grew()
            case Failed():
                store.try_to_write()  # says what is wrong, where it is wrong here as well
            case Answered(operation, outcome):
                metrics.request_answered(operation, outcome)

    return told


async def _take_over(store: SqlStore, settings: Settings) -> bool:
    """A backup does not know the leases that were granted after it: nothing is said to be complete before all of them must be over. False when a signal came first."""
    stop = _stop_on_signal()
    seconds = counted_seconds(settings.lease_seconds)
    _logger.info("restored from a backup: another log in %.2f s, when every lease from before is over", seconds)
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        store.become_another_log()
    return not stop.is_set()


def _stop_on_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT from now on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


@dataclass(frozen=True, slots=True)
class _Nodes:
    """What nodes connect to, and with which certificate it speaks; None: with none."""

    sync: SyncService
    tls: TlsIdentity | None


@dataclass(frozen=True, slots=True)
class _Operators:
    """What people and programs connect to that are no nodes."""

    application: ASGIApp
    admin: Admin
    on_api_event: Callable[[ApiEvent], None]


async def _run(settings: Settings, nodes: _Nodes, operators: _Operators) -> None:
    stop = _stop_on_signal()
    admin = operators.admin
    with contextlib.ExitStack() as sockets:
        api_socket = sockets.enter_context(await _listen_soon(settings.api))
        admin_socket = sockets.enter_context(await _listen_soon(settings.admin))
        limits = raise_descriptor_limit()
        api = ApiChild(api_socket, settings.arguments, operators.on_api_event)
        server = WebServer(WebConfig(operators.application, limits.web))
        port = GrpcPort(nodes.sync, limits.grpc, nodes.tls)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(api.run())
                await _start_grpc(settings.grpc, port)
                synchronizing = group.create_task(nodes.sync.run())
                group.create_task(server.serve([admin_socket]))
                admin.is_serving = lambda: api.is_serving
                how = "with certificates" if nodes.tls else "whoever connects is a node"
                _logger.info("api %s, grpc %s (%s), admin %s", settings.api, settings.grpc, how, settings.admin)
                await stop.wait()
                admin.is_serving = not_yet
                api.leave()
                await port.enter_graceful_shutdown()
                server.leave()
                synchronizing.cancel()  # ends the streams
                await port.stop(STOP_GRACE_SECONDS)
        finally:
            await port.stop(None)
    _logger.info("stopped")


async def _start_grpc(address: Address, port: GrpcPort) -> None:
    (await _listen_soon(address)).close()  # says clearly what is wrong, which gRPC does not
    try:
        await port.start(str(address))
    except RuntimeError as error:
        raise StartError(f"cannot listen on {address}: {error}") from error


async def _listen_soon(address: Address) -> socket.socket:
    """An address that is in use may be the management API's of a control plane that was just killed, which ends with it and not before it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ADDRESS_SECONDS
    while True:
        try:
            return _listen(address)
        except StartError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE or loop.time() > deadline:
                raise
        await asyncio.sleep(ADDRESS_PAUSE_SECONDS)


def _listen(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise StartError(f"cannot listen on {address}: {_reason(error)}") from error
    return listener


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _read_tls(folder: Path | None) -> TlsIdentity | None:
    try:
        return None if folder is None else TlsIdentity.read(folder)
    except TlsFilesError as error:
        raise StartError(f"--tls-dir: {error}") from error


def _publish_routing_table(store: SqlStore, settings: Settings) -> None:
    """Append the routing table to the log unless it is the one that is published."""
    if settings.routing_table is None:
        return
    table = _read_routing_table(settings.routing_table)
    table.zone = table.zone or settings.zone
    if table.zone != settings.zone:
        raise StartError(f"{settings.routing_table} is for the zone {table.zone}, not {settings.zone}")
    if table != store.routing_table():
        with store.transaction() as transaction:
            transaction.append(PutRoutingTable(table))


def _publish_geo_table(store: SqlStore, settings: Settings) -> None:
    """Append the table of countries to the log unless it is the one that is published."""
    table = default_geo_table() if settings.geo_table is None else _read_geo_table(settings.geo_table)
    if table != store.geo_table():
        with store.transaction() as transaction:
            transaction.append(PutGeoTable(table))


def _read_geo_table(path: Path) -> configuration_pb2.GeoTable:
    try:
        with path.open("rb") as file:
            return parse_geo_table(file.read(MAXIMUM_GEO_TABLE_BYTES + 1))
    except OSError as error:
        raise StartError(f"cannot read {path}: {_reason(error)}") from error
    except GeoTableError as error:
        raise StartError(f"{path} is not a table of countries: {error}") from error


def _read_routing_table(path: Path) -> configuration_pb2.RoutingTable:
    try:
        return json_format.Parse(path.read_bytes(), configuration_pb2.RoutingTable())
    except OSError as error:
        raise StartError(f"cannot read {path}: {_reason(error)}") from error
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise StartError(f"{path} is not a routing table: {error}") from error
