"""Has the nodes of a lab record a run, for as long as it goes on, and gathers what they have written (docs/history.md).

Each node is asked again and again, since its recording ends with its lease: one that is dead or stands still is asked in vain, one that was started again meanwhile has
gone on by itself. What a node wrote is copied from where it lies, so that a dead one leaves its history as well.
"""

import asyncio
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.clients.async_http import Answer, ExchangeFailedError, exchange
from lab.errors import LabError
from lab.history.raw_files import held, raw_folder
from lab.topology.layout import Role
from proto.history_lease import read_lease
from proto.history_recorder import RECORDING_FILE

LEASE_SECONDS: Final = 120.0
"""How long nodes go on recording for a run that was killed; and how long one may be dead, and records at once when it is started again."""
RENEW_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 1.0

Fetch = Callable[[str, Path], None]
"""Copies a node's history files into a folder; LabError when it cannot be done: see lab/cluster/interface.py."""


@dataclass(frozen=True, slots=True)
class RecordedNode:
    """One that keeps a history when it is asked to."""

    id: str
    admin_address: str


def new_name(run_directory: Path) -> str:
    """Of a recording: of this run, and of no other one that was in the same folder."""
    return f"{run_directory.name}-{secrets.token_hex(4)}"


WITHOUT_HISTORY: Final = frozenset({Role.WAN})
"""Programs that keep none."""


class Recording:
    """One run's."""

    def __init__(self, nodes: Sequence[RecordedNode], name: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._nodes = tuple(nodes)
        self.name = name
        self._request = json.dumps({"run": name, "lease_seconds": lease_seconds}).encode()
        self.silent: frozenset[str] = frozenset()
        """Nodes that did not answer the last time that they were asked."""
        self.refusals: dict[str, str] = {}
        """By node, what it had against it then."""

    async def begin(self) -> None:
        """All nodes that answer record when this returns. LabError when one refuses, or when none answers."""
        await self._renew()
        if self.refusals:
            raise LabError(
                "; ".join(f"{node} does not record the run: {reason}" for node, reason in self.refusals.items())
            )
        if self._nodes and len(self.silent) == len(self._nodes):
            raise LabError("no node answers that could record the run")

    async def keep(self) -> None:
        """Renew the leases until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._renew()

    async def end(self) -> None:
        """All nodes that answer have written everything when this returns; the others end by themselves."""
        await self._ask_all("DELETE", b"")

    async def _renew(self) -> None:
        await self._ask_all("POST", self._request)

    async def _ask_all(self, method: str, body: bytes) -> None:
        answers = await asyncio.gather(*[self._ask(node, method, body) for node in self._nodes])
        by_node = dict(zip((node.id for node in self._nodes), answers, strict=True))
        self.silent = frozenset(node for node, answer in by_node.items() if answer is None)
        self.refusals = {
            node: f"status {answer.status}, {answer.body[:200].decode('utf-8', 'replace').strip()}"
            for node, answer in by_node.items()
            if answer is not None and answer.status != 200
        }

    async def _ask(self, node: RecordedNode, method: str, body: bytes) -> Answer | None:
        headers = {"content-type": "application/json"} if body else {}
        try:
            return await exchange(
                node.admin_address,
                "/history",
                method=method,
                headers=headers,
                body=body,
                timeout_seconds=ANSWER_SECONDS,
            )
        except ExchangeFailedError:
            return None


@asynccontextmanager
async def recorded(nodes: Sequence[RecordedNode], run_directory: Path) -> AsyncIterator[Recording]:
    """Nodes record from here to the end of the block, and nobody archives what is written meanwhile. LabError when it cannot begin."""
    with held(run_directory):
        recording = Recording(nodes, new_name(run_directory))
        await recording.begin()
        keeping = asyncio.create_task(recording.keep())
        try:
            yield recording
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            await recording.end()


def collect(run_directory: Path, name: str, node_ids: Iterable[str], fetch: Fetch) -> list[str]:
    """What the nodes have written of the recording of this name goes to `RUN/history/raw/NODE/`; gives what could not be had, for people.

    What a node has of another recording, from before it died, is not of this run.
    """
    problems = []
    for node_id in node_ids:
        folder = raw_folder(run_directory) / node_id
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fetch(node_id, folder)
            is_of_this_run = _name_in(folder) == name
        except (LabError, OSError) as error:
            problems.append(str(error))
            shutil.rmtree(folder, ignore_errors=True)
            continue
        if is_of_this_run:
            (folder / RECORDING_FILE).unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)
            problems.append(f"{node_id} has recorded nothing of this run")
    return problems


def _name_in(folder: Path) -> str | None:
    try:
        lease = read_lease((folder / RECORDING_FILE).read_bytes())
    except OSError:
        return None
    return None if lease is None else lease.run
