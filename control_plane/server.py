"""One control plane process: opens the store, binds the three ports, runs everything in one task group, and ends in order on SIGTERM or SIGINT."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import uvicorn
from google.protobuf import json_format
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from starlette.types import ASGIApp

from control_plane.admin import Admin
from control_plane.admission import Admission
from control_plane.aws_api.application import create_application
from control_plane.clock import SteadyClock
from control_plane.coordination import Coordinator
from control_plane.deployment import LogDeployment
from control_plane.geo_table import MAXIMUM_GEO_TABLE_BYTES, GeoTableError, default_geo_table, parse_geo_table
from control_plane.leases import LeaseRules
from control_plane.ledger import SqlLedger
from control_plane.metrics import ControlMetrics
from control_plane.settings import Address, Settings
from control_plane.state import PutGeoTable, PutRoutingTable
from control_plane.store import SqlStore
from control_plane.sync import SyncService
from control_plane.turns import in_turn
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.mutual_tls import TlsFilesError, TlsIdentity

STOP_GRACE_SECONDS = 0.2
"""Streams are cut after it; nodes connect again by themselves."""

DOCUMENTED_SECRET_ACCESS_KEY = "cdnlab-secret"  # noqa: S105  # public on purpose: the API is reachable from this machine only

SILENT_BEATS = 3
"""A stream is closed when its node has been silent for so many beats on top of a whole lease."""

GRPC_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second control plane on the same port must fail, not share
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    (
        "grpc.max_receive_message_length",
        1024 * 1024,
    ),  # nodes say little, but for one that refuses thousands of resources
)

_logger = logging.getLogger("control-plane")


class StartError(Exception):
    """The control plane cannot start; the message says why."""


class _WebServer(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield


async def serve(settings: Settings) -> None:
    """Run until a signal."""
    clock = SteadyClock()
    tls = _read_tls(settings.tls_dir)
    credentials = {settings.access_key_id: _read_secret(settings.secret_access_key_file)}
    with contextlib.closing(SqlStore(settings.state_dir, clock)) as store:
        _publish_routing_table(store, settings)
        _publish_geo_table(store, settings)
        ledger = SqlLedger(store)
        coordinator = Coordinator(ledger, LeaseRules(settings.lease_seconds), clock())
        deployment = LogDeployment(coordinator, ledger)
        admission = Admission(settings.zone, is_certified=tls is not None)
        metrics = ControlMetrics(coordinator, lambda: store.head_index, lambda: admission.refused_total)
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
        api = create_application(store, deployment, settings.zone, credentials)
        web: dict[Address, ASGIApp] = {
            settings.api: in_turn(metrics.counting(api), sync.open_streams),
            settings.admin: admin.application(metrics, sync),
        }
        await _run(settings, _Nodes(sync, tls), web, admin)


@dataclass(frozen=True, slots=True)
class _Nodes:
    """What nodes connect to, and with which certificate it speaks; None: with none."""

    sync: SyncService
    tls: TlsIdentity | None


async def _run(settings: Settings, nodes: _Nodes, web: dict[Address, ASGIApp], admin: Admin) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as sockets:
        listening = {address: sockets.enter_context(_listen(address)) for address in web}
        grpc_server, health_servicer = await _start_grpc(settings.grpc, nodes)
        servers = [_WebServer(_web_config(application)) for application in web.values()]
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
                await health_servicer.enter_graceful_shutdown()
                for server in servers:
                    server.should_exit = True
                synchronizing.cancel()  # ends the streams
                await grpc_server.stop(STOP_GRACE_SECONDS)
        finally:
            await grpc_server.stop(None)
    _logger.info("stopped")


async def _start_grpc(address: Address, nodes: _Nodes) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    _listen(address).close()  # says clearly what is wrong, which gRPC does not
    server = grpc.aio.server(options=GRPC_OPTIONS)
    server.add_generic_rpc_handlers((nodes.sync.handler(),))
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    service = sync_pb2.DESCRIPTOR.services_by_name["ControlPlane"].full_name
    reflection.enable_server_reflection((service, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        if nodes.tls is None:
            server.add_insecure_port(str(address))
        else:
            server.add_secure_port(str(address), nodes.tls.for_server())
    except RuntimeError as error:
        raise StartError(f"cannot listen on {address}: {error}") from error
    await server.start()
    for name in ("", service):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, health_servicer


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


def _web_config(application: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
        server_header=False,
        ws="none",
    )


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
