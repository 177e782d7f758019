"""One control plane process: opens the store, binds the three ports, runs everything in one task group, and ends in order on SIGTERM or SIGINT."""

import asyncio
import contextlib
import logging
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format
from starlette.types import ASGIApp

from control_plane.admin import Admin, guarded
from control_plane.admission import Admission
from control_plane.aws_api.application import create_application
from control_plane.connection_limit import limits_for, wanted_descriptors
from control_plane.coordination import Coordinator
from control_plane.deployment import LogDeployment
from control_plane.geo_table import MAXIMUM_GEO_TABLE_BYTES, GeoTableError, default_geo_table, parse_geo_table
from control_plane.grpc_port import GrpcPort
from control_plane.leases import LeaseRules, counted_seconds
from control_plane.ledger import SqlLedger
from control_plane.metrics import ControlMetrics, StoreGauges
from control_plane.resource_kinds import put_geo_table, put_routing_table
from control_plane.settings import Address, Settings
from control_plane.state import Put
from control_plane.store import SqlStore
from control_plane.sync import SyncService
from control_plane.turns import in_turn
from control_plane.web import WebConfig, WebServer
from proto.admin_access import AdminAccess
from proto.cdn.v1 import configuration_pb2
from proto.descriptor_limit import raise_descriptor_limit
from proto.host_clock import HostClock
from proto.mutual_tls import TlsFilesError, TlsIdentity

STOP_GRACE_SECONDS = 0.2
"""Streams are cut after it; nodes connect again by themselves."""

DOCUMENTED_SECRET_ACCESS_KEY = "cdnlab-secret"  # noqa: S105  # public on purpose: the API is reachable from this machine only

NODE_NAME = "control-plane"
"""As the lab, compose and `/status` call it."""

SILENT_BEATS = 3
"""A stream is closed when its node has been silent for so many beats on top of a whole lease."""

_logger = logging.getLogger("control-plane")


class StartError(Exception):
    """The control plane cannot start; the message says why."""


async def serve(settings: Settings) -> None:
    """Run until a signal."""
    clock = HostClock()
    tls = _read_tls(settings.tls_dir)
    credentials = {settings.access_key_id: _read_secret(settings.secret_access_key_file)}
    with contextlib.closing(SqlStore(settings.state_dir, clock, anchor=clock.anchor)) as store:
        if store.is_copy and not await _take_over(store, settings):
            return
        _publish_routing_table(store, settings)
        _publish_geo_table(store, settings)
        ledger = SqlLedger(store)
        coordinator = Coordinator(ledger, LeaseRules(settings.lease_seconds), clock())
        deployment = LogDeployment(coordinator, ledger, store)
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
        admin = Admin(settings.zone, store, coordinator, deployment, clock)
        access = AdminAccess([NODE_NAME, socket.gethostname(), settings.admin.host])
        api = create_application(store, deployment, settings.zone, credentials)
        web: dict[Address, ASGIApp] = {
            settings.api: in_turn(metrics.counting(api)),
            settings.admin: guarded(admin.application(metrics, sync), access),
        }
        await _run(settings, _Nodes(sync, tls), web, admin)


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


async def _run(settings: Settings, nodes: _Nodes, web: dict[Address, ASGIApp], admin: Admin) -> None:
    stop = _stop_on_signal()
    with contextlib.ExitStack() as sockets:
        listening = {address: sockets.enter_context(_listen(address)) for address in web}
        limits = limits_for(raise_descriptor_limit(wanted_descriptors()))
        port = await _start_grpc(settings.grpc, GrpcPort(nodes.sync, limits.grpc, nodes.tls))
        servers = [WebServer(WebConfig(application, limits.web)) for application in web.values()]
        try:
            async with asyncio.TaskGroup() as group:
                synchronizing = group.create_task(nodes.sync.run())
                for server, address in zip(servers, web, strict=True):
                    group.create_task(server.serve([listening[address]]))
                admin.is_serving = True
                how = "with certificates" if nodes.tls else "whoever connects is a node"
                _logger.info("api %s, grpc %s (%s), admin %s", settings.api, settings.grpc, how, settings.admin)
                await stop.wait()
                admin.is_serving = False
                await port.enter_graceful_shutdown()
                for server in servers:
                    server.should_exit = True
                synchronizing.cancel()  # ends the streams
                await port.stop(STOP_GRACE_SECONDS)
        finally:
            await port.stop(None)
    _logger.info("stopped")


async def _start_grpc(address: Address, port: GrpcPort) -> GrpcPort:
    _listen(address).close()  # says clearly what is wrong, which gRPC does not
    try:
        await port.start(str(address))
    except RuntimeError as error:
        raise StartError(f"cannot listen on {address}: {error}") from error
    return port


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


def _read_secret(path: Path | None) -> str:
    """The first line of the file."""
    if path is None:
        return DOCUMENTED_SECRET_ACCESS_KEY
    try:
        secret = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read the secret access key in {path}: {error}") from error
    if not secret:
        raise StartError(f"there is no secret access key in {path}")
    return secret


def _publish_routing_table(store: SqlStore, settings: Settings) -> None:
    """Append the routing table to the log unless it is the one that is published."""
    if settings.routing_table is None:
        return
    table = _read_routing_table(settings.routing_table)
    table.zone = table.zone or settings.zone
    if table.zone != settings.zone:
        raise StartError(f"{settings.routing_table} is for the zone {table.zone}, not {settings.zone}")
    _publish(store, put_routing_table(table))


def _publish_geo_table(store: SqlStore, settings: Settings) -> None:
    """Append the table of countries to the log unless it is the one that is published."""
    table = default_geo_table() if settings.geo_table is None else _read_geo_table(settings.geo_table)
    _publish(store, put_geo_table(table))


def _publish(store: SqlStore, put: Put) -> None:
    """Append a resource to the log unless it is the one that is published."""
    if put.body != store.published(put.name):
        with store.transaction() as transaction:
            transaction.append(put)


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
