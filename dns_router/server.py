"""Puts the router together, runs it until it is told to stop, and takes it apart again."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

from dns_router.admin import AdminListener, AdminSources
from dns_router.command_line import Options
from dns_router.counters import Counters
from dns_router.history import RouterHistory, open_recorder
from dns_router.injected_faults import KINDS, DelayedDatagrams, FaultyResponder, open_applier
from dns_router.listeners import DatagramListener, StreamListener
from dns_router.metrics import NodeReport
from dns_router.responder import Responder
from dns_router.sockets import bind, bind_dns, bound_address
from dns_router.translation import address_record_data
from proto.admin_access import AdminAccess
from proto.cdn.v1 import sync_pb2
from proto.clock_faults import clocks_of
from proto.fault_port import FaultPort
from proto.faulty_session import open_session
from proto.held_folder import FolderInUseError, HeldFolder
from proto.history_recorder import HistoryRecorder
from proto.host_clock import read_boot_id
from proto.mutual_tls import TlsFilesError, TlsIdentity
from proto.node_session import NodeIdentity, NodeSession
from proto.process_identity import ProcessIdentity
from proto.seeds import derived, rng_of
from proto.state_files import StateFiles

_logger = logging.getLogger(__name__)


class CannotStartError(Exception):
    """The text is for the operator."""


@dataclass(frozen=True, slots=True)
class _Sockets:
    datagrams: socket.socket
    streams: socket.socket
    admin: socket.socket


async def serve(options: Options) -> None:
    """Run until SIGTERM or SIGINT. CannotListenError or CannotStartError when it does not come to that."""
    stopped = _stopped_by_signal()
    tls = _read_tls(options)
    with contextlib.ExitStack() as cleanup:
        sockets = _bind_all(options, cleanup)
        files = _opened_files(options)
        folder = _held(options)
        cleanup.callback(folder.release)
        identity = _identity(options, sockets, folder.identity)
        counters = Counters()
        faults = _faults(options)
        responder = _responder(options, counters, faults)
        applier = open_applier(files, responder, counters, address_record_data(identity.http_address), faults)
        applier.recover()
        control_planes = [str(address) for address in options.control_planes]
        clocks, recorder = clocks_of(faults), _recorder(options)
        history = None if recorder is None else RouterHistory(recorder, applier, clocks.true_steady)
        recorded = applier if history is None else history.applier
        session = open_session(identity, recorded, control_planes, tls, faults, clocks.steady)
        if history is not None and recorder is not None:
            history.applier.watch(session.lease_state)
            recorder.resume()
            cleanup.callback(recorder.close)
        report = NodeReport(
            identity, session, responder, counters, files.statistics, lambda: applier.clock_ahead_seconds
        )
        admin = AdminListener(AdminSources(report, _access(options), faults, recorder))
        async with _listening(sockets, responder, counters, admin, faults):
            _logger.info("listening on %s, admin on %s", bound_address(sockets.streams), bound_address(sockets.admin))
            await _follow_log_until_stopped(session, stopped, recorder)


def _faults(options: Options) -> FaultPort | None:
    if not options.may_have_faults:
        return None
    return FaultPort(KINDS, seed=None if options.seed is None else derived(options.seed, options.node_id))


def _responder(options: Options, counters: Counters, faults: FaultPort | None) -> Responder:
    rng = rng_of(options.seed, options.node_id, "answers")
    return Responder(counters, rng) if faults is None else FaultyResponder(counters, rng, faults)


def _recorder(options: Options) -> HistoryRecorder | None:
    try:
        return open_recorder(options.history, options.node_id)
    except OSError as error:
        raise CannotStartError(f"--history: {options.history} cannot be used: {error.strerror}") from error


def _read_tls(options: Options) -> TlsIdentity | None:
    try:
        return None if options.tls_folder is None else TlsIdentity.read(options.tls_folder)
    except TlsFilesError as error:
        raise CannotStartError(f"--tls-dir: {error}") from error


def _bind_all(options: Options, cleanup: contextlib.ExitStack) -> _Sockets:
    datagrams, streams = bind_dns(options.listen.host, options.listen.port)
    cleanup.enter_context(datagrams)
    cleanup.enter_context(streams)
    admin = cleanup.enter_context(bind(options.admin.host, options.admin.port, socket.SOCK_STREAM))
    return _Sockets(datagrams, streams, admin)


def _access(options: Options) -> AdminAccess:
    advertised = options.advertise_admin or options.admin
    return AdminAccess([options.node_id, socket.gethostname(), options.admin.host, advertised.host])


def _identity(options: Options, sockets: _Sockets, process: ProcessIdentity) -> NodeIdentity:
    return NodeIdentity(
        node_id=options.node_id,
        role=sync_pb2.ROLE_DNS_ROUTER,
        region=options.region,
        pop="",
        http_address=str(options.advertise or bound_address(sockets.streams)),
        admin_address=str(options.advertise_admin or bound_address(sockets.admin)),
        process=process,
    )


def _opened_files(options: Options) -> StateFiles:
    try:
        return StateFiles(options.state_folder)
    except OSError as error:
        raise _unusable(options, error) from error


def _unusable(options: Options, error: OSError) -> CannotStartError:
    return CannotStartError(f"cannot use the state folder {options.state_folder}: {error.strerror}")


def _held(options: Options) -> HeldFolder:
    try:
        return HeldFolder(options.state_folder, read_boot_id())
    except FolderInUseError as error:
        raise CannotStartError(str(error)) from error
    except OSError as error:
        raise _unusable(options, error) from error


@contextlib.asynccontextmanager
async def _listening(
    sockets: _Sockets, responder: Responder, counters: Counters, admin: AdminListener, faults: FaultPort | None
) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    streams = StreamListener(responder, counters)
    async with contextlib.AsyncExitStack() as cleanup:
        listener = DatagramListener(responder) if faults is None else DelayedDatagrams(responder, faults)
        datagrams, _ = await loop.create_datagram_endpoint(lambda: listener, sock=sockets.datagrams)
        cleanup.callback(datagrams.close)
        cleanup.callback(streams.close)
        cleanup.callback((await loop.create_server(streams.new_connection, sock=sockets.streams)).close)
        cleanup.callback(admin.close)
        cleanup.callback((await loop.create_server(admin.new_connection, sock=sockets.admin)).close)
        yield


def _stopped_by_signal() -> asyncio.Event:
    """Before anything else: who is told that the router listens may stop it."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


async def _follow_log_until_stopped(
    session: NodeSession, stopped: asyncio.Event, recorder: HistoryRecorder | None
) -> None:
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(session.run())
        writing = None if recorder is None else tasks.create_task(recorder.run())
        await stopped.wait()
        _logger.info("stopping")
        await session.leave()
        following.cancel()
        if writing is not None:
            writing.cancel()
