"""One run of the quick start on a lab that is up: viewers, witnesses, and the things that are done to the lab meanwhile.

Leaves the run's files and an `Account` of what was done; judging it is checkers/quickstart.py's, bringing the lab up and
down quickstart.py's.
"""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.clients.async_http import ExchangeFailedError, exchange
from lab.clients.management_api import Distribution, ManagementApi
from lab.cluster.interface import Cluster, LabFacts
from lab.cluster.status import RunningNode
from lab.errors import LabError
from lab.experiments.load import LOAD_FILE, LoadFollower, LoadRun, viewers_of
from lab.history.observations import Kill, Outage, Promise, Return
from lab.history.recorder import Recorder, WatchedNode
from lab.history.witnesses import DnsProbe, ObjectProbe, version_body, wait_for_return
from lab.report.live import LiveTable, LoadNow, Picture, hit_ratios
from lab.topology.layout import Role
from loadtests.plan import LoadPlan, parse_address
from loadtests.run_clocks import note_clock
from loadtests.workload import Population
from proto.host_clock import HostClock, host_seconds
from proto.moments import Moment, read_moment

WATCHED_PATH = "/bucket/news/front.txt"
INVALIDATED_PATHS = ["/bucket/news/*"]

# When things happen, as shares of the run: caches are warm by the first, and the last leaves time to come back.
INVALIDATE_AT = 0.3
KILL_AT = 0.45
# A lease must have run out before the second change, so that its receipt leaves the dead edge out.
AFTER_LEASE_SECONDS = 1.5
# The control plane counts a lease from when it received the heartbeat and adds a drift margin; the router hears of it next.
LEASE_MARGIN_SECONDS = 1.5
RECEIPT_SECONDS = 15.0
RETURN_SECONDS = 20.0
RECEIPT_INTERVAL_SECONDS = 0.01
SHOW_INTERVAL_SECONDS = 0.5


class RunFailedError(LabError):
    """The run could not go on; the message says what the lab did not do."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The lab that is up, as the quick start finds it: nothing of this changes while it runs."""

    facts: LabFacts
    nodes: tuple[RunningNode, ...]

    @classmethod
    def of(cls, lab: Cluster) -> "Stage":
        facts = lab.facts
        if not facts.populations:
            raise RunFailedError(f"topology {facts.topology} has no populations: nobody would come")
        return cls(facts, tuple(node for node in lab.nodes() if node.role is not Role.WAN))

    @property
    def populations(self) -> tuple[Population, ...]:
        """As the load generator has them."""
        return viewers_of(self.facts)

    def of_role(self, role: Role) -> tuple[RunningNode, ...]:
        found = tuple(node for node in self.nodes if node.role == role)
        if not found:
            raise RunFailedError(f"the lab has no {role}")
        return found


@dataclass(slots=True)
class Account:
    """What was done and what came of it, filled in as the run goes on."""

    promises: list[Promise] = field(default_factory=list)
    receipts: list[Mapping[str, Any]] = field(default_factory=list)
    outage: Outage | None = None
    returned: Return | None = None
    events: list[str] = field(default_factory=list)


class QuickStartRun:
    """`run` does everything between a lab that is up and a verdict."""

    def __init__(
        self,
        stage: Stage,
        lab: Cluster,
        api: ManagementApi,
        distribution: Distribution,
        directory: Path,
        duration_seconds: float,
    ) -> None:
        self._stage = stage
        self._lab = lab
        self._api = api
        self._distribution = distribution
        self._directory = directory
        self._duration_seconds = duration_seconds
        self._control_plane = stage.of_role(Role.CONTROL_PLANE)[0]
        self._origin = stage.of_role(Role.ORIGIN)[0]
        self._victim = self._choose_victim()
        self.account = Account()
        self._clock = HostClock()
        note_clock(directory, "lab", self._clock.anchor)
        self._events_path = directory / "events.jsonl"
        self._events_path.write_text("", encoding="utf-8")
        nodes = [WatchedNode(node.id, node.role, node.pop, node.admin) for node in stage.nodes]
        self._recorder = Recorder(nodes, directory / "metrics.jsonl", self._clock)
        edges = {node.id: node.http for node in stage.of_role(Role.EDGE)}
        self.probe = ObjectProbe(edges, self._host_header, WATCHED_PATH, self._clock)
        self.dns_probe = self._make_dns_probe()
        self._version = 0
        self._phase = "starting"

    @property
    def _host_header(self) -> str:
        return f"{self._distribution.domain_name}:{self._stage.facts.viewer_port}"

    def _choose_victim(self) -> RunningNode:
        """An edge that viewers of its own region are sent to, so that its death is felt."""
        regions = {population.region for population in self._stage.populations}
        edges = self._stage.of_role(Role.EDGE)
        return next((edge for edge in edges if edge.region in regions), edges[0])

    def _make_dns_probe(self) -> DnsProbe:
        populations = self._stage.populations
        subnet = next((each.client_subnet for each in populations if each.region == self._victim.region), None)
        router = self._stage.of_role(Role.DNS_ROUTER)[0]
        client_subnet = subnet or populations[0].client_subnet
        return DnsProbe(router.dns, self._distribution.domain_name, client_subnet, self._clock)

    def load_plan(self) -> LoadPlan:
        return LoadPlan(
            dns=parse_address(self._stage.of_role(Role.DNS_ROUTER)[0].reached_at),
            domain_name=self._distribution.domain_name,
            viewer_port=self._stage.facts.viewer_port,
            populations=self._stage.populations,
            output=(self._directory / LOAD_FILE).resolve(),
        )

    async def prepare(self) -> None:
        """The first version of the watched object, at the origin."""
        await self._put(f"/bucket/{WATCHED_PATH.split('/')[2]}", b"")
        await self._publish_next_version()

    async def run(self, live: LiveTable, profile: str) -> None:
        """Everything at once, for as long as the load runs; no task and no process outlives it."""
        await self.prepare()
        users, mark = self._stage.facts.users, self._lab.mark
        load = LoadRun(profile, self.load_plan(), self._duration_seconds, users, self._directory, mark)
        with load:
            async with asyncio.TaskGroup() as group:
                background: list[Coroutine[Any, Any, None]] = [
                    self._recorder.run(),
                    self.probe.run(),
                    self.dns_probe.run(),
                    self._show(live),
                ]
                tasks = [group.create_task(each) for each in background]
                try:
                    await self._act(live, host_seconds())
                    self._phase = "the last requests"
                    await asyncio.to_thread(load.wait)
                finally:
                    for task in tasks:
                        task.cancel()

    async def _act(self, live: LiveTable, began: float) -> None:
        """The script. Times are offsets from the beginning; each step waits for what it needs."""
        lease_over = self._stage.facts.lease_seconds + LEASE_MARGIN_SECONDS + AFTER_LEASE_SECONDS
        self._phase = "caches warm up"
        await _sleep_until(began + INVALIDATE_AT * self._duration_seconds)
        self._phase = "an object changes and is invalidated"
        await self._change_and_invalidate(live)
        await _sleep_until(began + KILL_AT * self._duration_seconds)
        self._phase = f"{self._victim.id} is dead"
        kill_began_at = self._clock.now()
        await asyncio.to_thread(self._lab.kill, self._victim.id)
        kill = Kill(kill_began_at, self._clock.now())
        self._set_outage(kill, None)
        self._record(live, "kill", self._victim.id, f"{self._victim.id} killed with SIGKILL")
        await asyncio.sleep(max(0.0, lease_over - self._clock.now().seconds_since(kill.ended_at)))
        await self._change_and_invalidate(live)
        self._set_outage(kill, self._clock.now())
        await asyncio.to_thread(self._lab.start, self._victim.id)
        self._phase = f"{self._victim.id} comes back"
        self._record(live, "start", self._victim.id, f"{self._victim.id} started again")
        await self._watch_return(live)

    def _set_outage(self, kill: Kill, started_at: Moment | None) -> None:
        bound = self._stage.facts.lease_seconds + LEASE_MARGIN_SECONDS
        address = self._victim.reached_at.rpartition(":")[0]
        self.account.outage = Outage(self._victim.id, address, kill, started_at, bound, self.dns_probe.ttl_seconds)

    async def _watch_return(self, live: LiveTable) -> None:
        address = self._victim.reached_at.rpartition(":")[0]
        try:
            returned = await wait_for_return(
                self.dns_probe, address, self._victim.admin, self._control_plane.admin, RETURN_SECONDS
            )
        except ExchangeFailedError as error:
            raise RunFailedError(
                f"{self._victim.id} is in DNS answers but does not say where it stands: {error}"
            ) from error
        self.account.returned = returned
        if returned is not None:
            text = (
                f"{self._victim.id} is in DNS answers again, at index {returned.applied_index} of {returned.head_index}"
            )
            self._record(live, "return", self._victim.id, text)
        self._phase = "all well again"

    async def _change_and_invalidate(self, live: LiveTable) -> None:
        version = await self._publish_next_version()
        text = f"{self._origin.id} has version {version} of {WATCHED_PATH}"
        self._record(live, "origin_change", WATCHED_PATH.rpartition("/")[2], text)
        invalidation_id = await asyncio.to_thread(self._api.invalidate, self._distribution.id, INVALIDATED_PATHS)
        self._record(live, "invalidation", invalidation_id, f"{INVALIDATED_PATHS[0]} invalidated as {invalidation_id}")
        receipt = await self._wait_receipt(invalidation_id)
        self.account.receipts.append(receipt)
        if not receipt.get("completed_at"):
            text = f"{invalidation_id} not completed within {RECEIPT_SECONDS:.0f} s"
            self._record(live, "no_receipt", invalidation_id, text)
            return
        completed_at = read_moment(receipt.get("clock"), receipt, "completed")
        self.account.promises.append(Promise(invalidation_id, version, completed_at))
        nodes = [node for node in receipt["nodes"] if node["state"] == "acknowledged"]
        left_out = [node["id"] for node in receipt["nodes"] if node["state"] == "left_out"]
        text = f"receipt of {invalidation_id}: {len(nodes)} nodes{_in_milliseconds(receipt)}"
        self._record(live, "receipt", invalidation_id, text + (f", without {', '.join(left_out)}" if left_out else ""))

    async def _wait_receipt(self, invalidation_id: str) -> Mapping[str, Any]:
        """A control plane that stands still for a moment, or whom we could not hear because we did, has until the deadline to answer."""
        receipt: Mapping[str, Any] = {"invalidation_id": invalidation_id, "nodes": []}
        deadline = host_seconds() + RECEIPT_SECONDS
        while receipt.get("status") != "Completed":
            is_last = host_seconds() > deadline
            try:
                answer = await exchange(self._control_plane.admin, f"/receipts/{invalidation_id}", timeout_seconds=2.0)
                receipt = json.loads(answer.body)
            except ExchangeFailedError:
                if is_last:
                    raise
            if is_last:
                break
            await asyncio.sleep(RECEIPT_INTERVAL_SECONDS)
        return receipt

    async def _publish_next_version(self) -> int:
        self._version += 1
        await self._put(WATCHED_PATH, version_body(self._version))
        return self._version

    async def _put(self, path: str, body: bytes) -> None:
        answer = await exchange(self._origin.http, path, method="PUT", body=body, timeout_seconds=5.0)
        if answer.status != 200:
            raise RunFailedError(f"{self._origin.id} refused PUT {path} with status {answer.status}")

    def _record(self, live: LiveTable, kind: str, subject: str, text: str) -> None:
        now = self._clock.now()
        wall = self._clock.wall_seconds_at(now)
        times = {"time": round(wall, 3), "monotonic_ns": now.monotonic_ns}
        event = times | {"kind": kind, "subject": subject, "text": text}
        with self._events_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        words = f"{datetime.fromtimestamp(wall).astimezone():%H:%M:%S} {text}"
        self.account.events.append(words)
        live.say(words)

    async def _show(self, live: LiveTable) -> None:
        follower, load_now, began = LoadFollower(self._directory / LOAD_FILE), LoadNow(), host_seconds()
        while True:
            load_now.add(follower.new_lines())
            latest = self._recorder.latest
            dead = tuple(node for node, line in sorted(latest.items()) if not line["up"])
            picture = Picture(
                elapsed_seconds=host_seconds() - began,
                phase=self._phase,
                regions=load_now.regions(host_seconds()),
                hit_ratios=hit_ratios(latest, self._recorder.before),
                nodes_alive=len(latest) - len(dead),
                nodes_total=len(self._stage.nodes),
                dead_nodes=dead,
                events=tuple(self.account.events),
            )
            live.show(picture)
            await asyncio.sleep(SHOW_INTERVAL_SECONDS)


async def _sleep_until(moment: float) -> None:
    """Of the host's clock."""
    await asyncio.sleep(max(0.0, moment - host_seconds()))


def _in_milliseconds(receipt: Mapping[str, Any]) -> str:
    """From issue to completion; nothing when they were not of one boot."""
    issued_ns, completed_ns = receipt.get("issued_monotonic_ns"), receipt.get("completed_monotonic_ns")
    return "" if issued_ns is None or completed_ns is None else f" in {(completed_ns - issued_ns) / 1e6:.0f} ms"
