"""A node put together and run: listeners, pipeline, admin port, the session with the control plane; and its end, in which no request is cut."""

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from edge_node import IS_COMPILED
from edge_node.control.client import ClientFiles, ControlClient
from edge_node.control.injected_faults import faults_of, open_client
from edge_node.control.peer_inquiry import PeerInquiry, log_fence, write_standing
from edge_node.delivery.request_ids import RequestIds
from edge_node.delivery.request_recorder import RecordSink, RequestRecorder
from edge_node.listeners.connection_limit import Shedder, has_descriptors_left, limit_for, wanted_descriptors
from edge_node.listeners.fast_path import HitFastPath
from edge_node.listeners.serving import OpenConnection
from edge_node.listeners.socket_writer import bound_unsent_bytes
from edge_node.listeners.trusted_proxies import accepting
from edge_node.model.configuration import Role
from edge_node.model.counters import Counters
from edge_node.observability.access_log import AccessLog
from edge_node.observability.admin import AdminSources, start_admin_server
from edge_node.observability.explain import Explainer
from edge_node.observability.history import open_history
from edge_node.observability.metrics import Sources, make_exposition
from edge_node.observability.status import store_documents
from edge_node.pipeline.exception_barrier import ExceptionBarrier
from edge_node.pipeline.pipeline import Pipeline, PipelineDependencies
from edge_node.policy.fence import Fence, FenceState, PeerStanding
from edge_node.policy.response_head import LocalNode
from edge_node.settings import Address, Settings
from edge_node.stages.table import StageTable
from edge_node.storage.cache import Cache
from edge_node.storage.disk.errors import DiskStoreError
from edge_node.storage.disk.faulty_files import faulty_disk_of
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.storage.node_state import NodeState
from edge_node.storage.storage_factory import Storage, open_storage
from edge_node.upstream.fetcher import Fetcher
from edge_node.upstream.limits import UpstreamLimits
from edge_node.upstream.pool import ConnectionPool
from proto.admin_access import AdminAccess
from proto.cdn.v1 import sync_pb2
from proto.clock_faults import clocks_of
from proto.descriptor_limit import raise_descriptor_limit
from proto.faulty_session import open_session
from proto.held_folder import FolderInUseError, HeldFolder
from proto.host_clock import read_boot_id, take_anchor
from proto.mutual_tls import TlsFilesError, TlsIdentity
from proto.node_session import NodeIdentity, NodeSession
from proto.seeds import rng_of

logger = logging.getLogger("edge")

LISTEN_BACKLOG = 1_024
DRAIN_SECONDS = 30.0
"""How long requests that are under way may take after SIGTERM."""
FLUSH_SECONDS = 0.1
"""How long a stored response may wait for its way to disk: kill -9 loses no more."""
VERSION = "0.1.0"


class StartError(Exception):
    """The node cannot start; the message says why."""


def _read_tls(folder: Path | None) -> TlsIdentity | None:
    try:
        return None if folder is None else TlsIdentity.read(folder)
    except TlsFilesError as error:
        raise StartError(f"--tls-dir: {error}") from error


def _cannot_listen(address: Address, error: OSError) -> StartError:
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return StartError(f"cannot listen on {address}: {reason}")


class EdgeNode:
    """One running node."""

    def __init__(self, settings: Settings, tasks: asyncio.TaskGroup) -> None:
        tls = _read_tls(settings.tls_dir)
        self._settings = settings
        self._faults = faults_of(settings.disk_bytes, settings.own_seed, is_allowed=settings.may_have_faults)
        self._faulty_disk = faulty_disk_of(self._faults)
        clocks = self._clocks = clocks_of(self._faults)
        self._tasks = tasks
        self._work: set[asyncio.Task[None]] = set()
        """Fetches and requests that wait."""
        self._loop = asyncio.get_running_loop()
        self.clock = self._loop.time
        self.connections: set[OpenConnection] = set()
        self._anchor = take_anchor()
        self._limit = limit_for(raise_descriptor_limit(wanted_descriptors()))
        self._shedder = Shedder()
        self.is_draining = False
        self._all_closed = asyncio.Event()
        self._counters = Counters()
        self._barrier = ExceptionBarrier(self._counters)
        self._loop.set_exception_handler(self._barrier.loop_failed)
        via = b"1.1 %b.cloudfront.net (CloudFront)" % os.urandom(16).hex().encode()
        facts = LocalNode(settings.role, settings.pop.encode(), via)
        self.node = facts
        self._stages = StageTable(settings.role)
        fence = Fence(clocks.steady(), is_strict=settings.is_strictly_invalidated)
        self._state = NodeState(settings.region, fence, self._stages.compile, clocks.put_ahead)
        template = EntryTemplates(facts)
        self._stores = self._open_stores(template)
        self._cache = Cache(facts, self._stores.store, self._state.invalidations, clocks.wall, template)
        self._access_log = AccessLog(settings.access_log, settings.pop, self._counters)
        self._history = open_history(settings.history, settings.node_id, clocks, self._state)
        self._recorder = RequestRecorder(self._counters, self._sink(), clocks.wall, clocks.steady)
        self._pool = ConnectionPool(self._loop, settings.source)
        request_ids = RequestIds(os.urandom(20))
        self.service = self._make_pipeline(request_ids)
        self.fast_path = HitFastPath(
            facts, self._stores.store, self._state, self._recorder, request_ids, clocks.wall, clocks.steady
        )
        self._state.invalidate_everything = self.service.invalidate_everything
        self._client, self._folder = self._open_state()
        restored = self._client.restore()
        for key in self._stores.strict_keys():
            self._cache.index_variant(key)
        if restored.has_configuration:
            logger.info("serving from the snapshot on disk, %s", "warm" if restored.is_warm else "cold")
        self._session = self._open_session(tls)
        rng = rng_of(settings.own_seed, "inquiry")
        self._inquiry = PeerInquiry(settings.node_id, self._state, clocks.steady, rng, log_fence, settings.source)
        self._servers: list[asyncio.Server] = []

    def opened(self, connection: OpenConnection) -> bool:
        """A viewer has connected; False when there are too many, and all of them are being answered."""
        if len(self.connections) >= self._limit.connections:
            shed = self._shed()
            done = f"{shed} idle ones were closed" if shed else "one more was refused"
            self._shedder.tell(f"{self._limit.connections} viewers are connected", done, self.clock())
            self._counters.refused_connections += not shed
            if not shed:
                self.connections.add(connection)  # until it is closed
                return False
        self.connections.add(connection)
        return True

    def _shed(self) -> int:
        shed = self._shedder.shed(self.connections, self.clock())
        self._counters.shed_connections = self._shedder.shed_connections
        return shed

    def closed(self, connection: OpenConnection) -> None:
        """A viewer's connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_closed.set()

    async def start(self) -> None:
        """Listen; raises StartError when an address is taken."""
        settings = self._settings
        await self._listen(settings.listen, is_shared=False)
        if settings.listen_shared is not None:
            await self._listen(settings.listen_shared, is_shared=True)
        try:
            self._servers.append(
                await start_admin_server(self._admin_sources(), settings.admin.host, settings.admin.port)
            )
        except OSError as error:
            raise _cannot_listen(settings.admin, error) from error
        self._background = [
            self._tasks.create_task(work)
            for work in (
                self._session.run(),
                self._inquiry.run(),
                self._sweep(),
                self._flush_stores(),
                self._recorder.flush_regularly(),
                *(() if self._history is None else (self._history.recorder.run(),)),
            )
        ]
        logger.info("%s", self._limit)
        logger.info(
            "%s %s listening on %s, admin on %s, %s",
            settings.role.value, settings.node_id, settings.listen, settings.admin, "compiled" if IS_COMPILED else "run from source",
        )  # fmt: skip

    async def stop(self) -> None:
        """Leave the routing, take no more connections, finish what is under way, then end."""
        self.is_draining = True
        await self._session.leave()
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.drain()
        try:
            async with asyncio.timeout(DRAIN_SECONDS if self.connections else 0):
                self._all_closed.clear()
                await self._all_closed.wait()
        except TimeoutError:
            pass
        for connection in tuple(self.connections):
            connection.abort()
        for task in (*self._background, *self._work):  # what still works now has no viewer to work for
            task.cancel()
        self._pool.close()
        self._recorder.flush()
        if self._history is not None:
            self._history.recorder.close()
        self._access_log.close()
        self._stores.close()
        self._client.close()
        self._folder.release()  # last: what was written before, the next process finds
        logger.info("%s has ended", self._settings.node_id)

    def _sink(self) -> RecordSink:
        return self._access_log if self._history is None else self._history.beside(self._access_log)

    def _open_session(self, tls: TlsIdentity | None) -> NodeSession:
        history, control_planes = self._history, list(map(str, self._settings.control_planes))
        applier = self._client if history is None else history.applier(self._client, self._recorder.flush)
        session = open_session(self._identity(), applier, control_planes, tls, self._faults, self._clocks.steady)
        if history is not None:
            history.begin(session.lease_state)
        return session

    def _open_state(self) -> tuple[ControlClient, HeldFolder]:
        folder = self._settings.state_dir
        try:
            files = ClientFiles.in_folder(folder, self._faulty_disk)
            client = open_client(self._state, self._settings.region, files, self._load, self._faults)
            return client, HeldFolder(folder, read_boot_id())
        except FolderInUseError as error:
            raise StartError(str(error)) from error
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            text = f"the state folder {folder} cannot be used: {reason}; give another one with --state-dir"
            raise StartError(text) from error

    def _open_stores(self, template: EntryTemplates) -> Storage:
        try:
            return open_storage(self._settings, template, self._state.invalidations, self._faulty_disk)
        except (DiskStoreError, ValueError) as error:
            raise StartError(f"the cache on disk cannot be opened: {error}") from error

    def _make_pipeline(self, request_ids: RequestIds) -> Pipeline:
        limits = UpstreamLimits(self._settings.origin_connections)
        fetcher = Fetcher(
            self._pool, self._counters, self.clock, limits, lambda: len(self._state.regionals), self._spawn
        )
        fetcher.observer = None if self._history is None else self._history.fills
        return Pipeline(
            PipelineDependencies(
                cache=self._cache,
                state=self._state,
                fetcher=fetcher,
                recorder=self._recorder,
                counters=self._counters,
                request_ids=request_ids,
                entry_stages=self._stages.entry,
                spawn=self._spawn,
                monotonic=self._clocks.steady,
            )
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(self._barrier.guard(work))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def _identity(self) -> NodeIdentity:
        settings = self._settings
        role = sync_pb2.ROLE_EDGE if settings.role is Role.EDGE else sync_pb2.ROLE_REGIONAL
        return NodeIdentity(
            settings.node_id,
            role,
            settings.region,
            settings.pop,
            str(settings.advertise),
            str(settings.advertise_admin),
            self._folder.identity,
        )

    def _load(self) -> tuple[int, int]:
        return self._counters.requests_total, len(self.connections)

    async def _listen(self, address: Address, *, is_shared: bool) -> None:
        try:
            server = await self._loop.create_server(
                accepting(self, self._settings.trusted_proxies),
                address.host,
                address.port,
                backlog=LISTEN_BACKLOG,
                reuse_port=is_shared or None,
            )
        except OSError as error:
            raise _cannot_listen(address, error) from error
        for listening in server.sockets:
            bound_unsent_bytes(listening)
        self._servers.append(server)

    async def _sweep(self) -> None:
        """Time limits of connections and of idle upstream connections, about once a second."""
        while True:
            await asyncio.sleep(1.0)
            now = self.clock()
            for connection in tuple(self.connections):
                try:
                    connection.check_deadline(now)
                except Exception:
                    self._barrier.note("while looking at a connection's deadline", connection.abort)
            if not has_descriptors_left():
                trouble = f"no file descriptor is left of {self._limit.descriptors}"
                viewers = len(self.connections)
                self._shedder.tell(trouble, f"{self._shed()} idle ones of {viewers} viewers were closed", now)
            try:
                self._pool.close_expired()
            except Exception:
                self._barrier.note("while closing idle connections")

    async def _flush_stores(self) -> None:
        """What waits to be written to disk goes there soon."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                self._stores.flush()
            except Exception:
                self._barrier.note("while writing to disk")

    def _admin_sources(self) -> AdminSources:
        settings = self._settings
        facts = {"node": settings.node_id, **self._place(), "version": VERSION}
        sources = Sources(
            facts,
            self._counters,
            self._cache.store.statistics,
            self._stores.disk,
            self._session,
            lambda: self._state.applied_index,
            lambda: len(self.connections),
            IS_COMPILED,
            lambda: self._state.fence.state is FenceState.FENCED,
            self._client.file_statistics,
        )
        explainer = Explainer(settings.node_id, self._cache, self._state, self._clocks.steady)
        names = (settings.node_id, socket.gethostname(), settings.admin.host, settings.advertise_admin.host)
        exposition, access = make_exposition(sources), AdminAccess(names)
        ports = (self._faults, None if self._history is None else self._history.recorder)
        return AdminSources(exposition, self._status, self._standing, self._why_not_ready, explainer, access, *ports)

    def _place(self) -> dict[str, str]:
        settings = self._settings
        return {"role": settings.role.value, "region": settings.region, "pop": settings.pop}

    def _standing(self) -> dict[str, object]:
        state, session = self._state, self._session
        standing = PeerStanding(
            state.log_id,
            state.applied_index,
            session.lease_state() == "held",
            state.fence.is_starting(self._clocks.steady()),
            session.renewed_seconds_ago(),
        )
        return write_standing(standing)

    def _why_not_ready(self) -> str | None:
        if self.is_draining:
            return "draining"
        return (
            None
            if self._state.log_id
            else "no configuration yet: the control plane has not been heard and there is none on disk, or not all of it"
        )

    def _status(self) -> dict[str, Any]:
        settings, session = self._settings, self._session
        return {
            "id": settings.node_id,
            **self._place(),
            "http": str(settings.advertise),
            "applied_index": self._state.applied_index,
            "log_id": self._state.log_id,
            "lease": session.lease_state(),
            "lease_remaining_seconds": round(session.lease_remaining_seconds(), 3),
            "clock": self._anchor.to_json(),
            "clock_ahead_seconds": self._state.clock_ahead_seconds,
            "fence": self._state.fence.state.value,
            "is_connected": session.is_connected,
            "is_draining": self.is_draining,
            "open_connections": len(self.connections),
            "requests_total": self._counters.requests_total,
            **store_documents(self._cache.store.statistics, self._stores.disk),
            "distributions": [d.id for d in self._state.router.snapshot.distributions.values()],
            "rejections": session.rejections(),
            "state_files": self._client.file_statistics.to_json(),
            "regionals": [peer.id for peer in self._state.regionals],
        }
