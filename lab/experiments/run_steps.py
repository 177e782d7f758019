"""Does the steps of a scenario to a lab that is up, one function for each kind, and writes down what they changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, assert_never

from lab.agent.client import AgentClient
from lab.clients.http_client import UnreachableError, ask, get_json
from lab.clients.management_api import ApiUnreachableError, Distribution, ManagementApi, new_reference
from lab.cluster.interface import Cluster
from lab.durations import format_duration
from lab.errors import LabError, UsageError
from lab.experiments.run_faults import FaultRows
from lab.experiments.stage import Stage
from lab.experiments.time_travel import move_time
from lab.experiments.timeline import Timeline
from lab.faults.targets import Candidate, choose
from lab.history.lab_tables import LabTables
from lab.scenarios.steps import ALL, Configure, Heal, Inject, Invalidate, MoveTime, Put, Restart, Step, Wait
from lab.topology.layout import Role
from proto.host_clock import host_nanoseconds, host_seconds

RECEIPT_LOOK_SECONDS: Final = 0.02
PUT_SECONDS: Final = 5.0
API_SECONDS: Final = 10.0
API_LOOK_SECONDS: Final = 0.2
LIVE_SECONDS: Final = 60.0
LIVE_LOOK_SECONDS: Final = 1.0
Mark = Callable[[str, str, str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Grip:
    """What steps take hold of."""

    lab: Cluster
    stage: Stage
    api: ManagementApi
    sites: Mapping[str, Distribution]
    """By name, the main one first."""
    agent: AgentClient
    faults: FaultRows
    tables: LabTables
    timeline: Timeline
    mark: Mark


class StepTaker:
    """Several threads may do steps at once, as background activities do."""

    def __init__(self, grip: Grip) -> None:
        self._grip = grip
        self._versions: dict[str, int] = {}
        self.invalidations: dict[str, dict[str, Any]] = {}
        """Rows of the table, by id: their receipts are looked at again in the end."""

    def do(self, step: Step) -> dict[str, Any]:
        """What came of it, as JSON has it. LabError when it cannot be done."""
        match step:
            case Inject():
                return self._inject(step)
            case Heal():
                return self._heal(step)
            case Restart():
                return self._restart(step)
            case Put():
                return self._put(step)
            case Invalidate():
                return self._invalidate(step)
            case Configure():
                return self._configure(step)
            case MoveTime():
                return self._move_time(step)
            case Wait():
                return {}
        assert_never(step)

    def _inject(self, step: Inject) -> dict[str, Any]:
        lease = self._grip.faults.inject(step.fault, step.target, step.lease_seconds or None, step.parameters)
        return {"lease": lease["id"], "nodes": lease["nodes"], "links": lease["links"]}

    def _heal(self, step: Heal) -> dict[str, Any]:
        healed = self._grip.faults.in_force(None if step.fault == ALL else step.fault)
        for lease_id in healed:
            self._grip.faults.heal(lease_id)
        return {"leases": healed}

    def _restart(self, step: Restart) -> dict[str, Any]:
        nodes = [Candidate(each.id, each.role, each.region, each.pop) for each in self._grip.stage.nodes]
        chosen = [node.id for node in choose(step.target, nodes)]
        for node_id in chosen:
            self._grip.faults.inject("restart", node_id, None, {})
            self._wait_until_live(node_id)
            self._grip.mark("restarted", node_id, f"{node_id} is live again")
            self._grip.timeline.sleep(step.pause_seconds)
        return {"nodes": chosen}

    def _wait_until_live(self, node_id: str) -> None:
        """LabError when it takes too long; RunStoppedError when the run is over meanwhile."""
        deadline = host_seconds() + LIVE_SECONDS
        while True:
            try:
                self._grip.lab.wait_until_live(node_id, LIVE_LOOK_SECONDS)
            except LabError:
                self._grip.timeline.check_stop()
                if host_seconds() >= deadline:
                    raise
            else:
                return

    def _put(self, step: Put) -> dict[str, Any]:
        origins = [
            node for node in self._grip.stage.of_role(Role.ORIGIN) if not step.origins or node.id in step.origins
        ]
        if not origins:
            raise UsageError(f"no origin {', '.join(step.origins)}")
        number = self._versions[step.path] = self._versions.get(step.path, 0) + 1
        body = version_body(number, step.size_bytes)
        fields = [("cache-control", step.cache_control)] if step.cache_control else []
        versions = {}
        for origin in origins:
            asked_ns = host_nanoseconds()
            try:
                reply = ask(
                    origin.http, step.path, method="PUT", headers=fields, body=body, timeout_seconds=PUT_SECONDS
                )
            except UnreachableError as error:
                self._write("object", step.path, None, asked_ns, origin.id, is_confirmed=False)
                raise LabError(f"{origin.id} does not take {step.path}: {error}") from error
            if reply.status != 200:
                self._write("object", step.path, None, asked_ns, origin.id, is_confirmed=False)
                raise LabError(f"{origin.id} refused {step.path} with status {reply.status}")
            versions[origin.id] = reply.headers.get("x-amz-version-id", str(number))
            self._write("object", step.path, versions[origin.id], asked_ns, origin.id)
        return {"path": step.path, "versions": versions}

    def _invalidate(self, step: Invalidate) -> dict[str, Any]:
        """All of them are issued before the first receipt is waited for, all receipts within one bound."""
        issued = [self._issue(step) for _ in range(step.times)]
        deadline = host_seconds() + (step.receipt_seconds if step.awaits_receipt else 0.0)
        statuses = [self._follow(step, each, deadline) for each in issued]
        undone = next((each for each in statuses if each != "Completed"), "Completed")
        return {"invalidation": issued[0][0], "status": undone, "issued": len(issued)}

    def _issue(self, step: Invalidate) -> tuple[str, int, int]:
        """Its id, and when it was asked for and confirmed."""
        distribution = self._site(step.distribution)
        asked_ns = host_nanoseconds()
        reference = new_reference()
        invalidation_id = self._reach_api(
            lambda: self._grip.api.invalidate(distribution.id, list(step.paths), reference)
        )
        confirmed_ns = host_nanoseconds()
        row = {
            "id": invalidation_id,
            "distribution_id": distribution.id,
            "host": distribution.domain_name,
            "paths": " ".join(step.paths),
            "asked_ns": asked_ns,
        }
        self.invalidations[invalidation_id] = row
        self._grip.mark("invalidation", invalidation_id, f"{' '.join(step.paths)} invalidated as {invalidation_id}")
        return invalidation_id, asked_ns, confirmed_ns

    def _follow(self, step: Invalidate, issued: tuple[str, int, int], deadline: float) -> str:
        """Its status when its receipt is there, or the time is over."""
        invalidation_id, asked_ns, confirmed_ns = issued
        receipt = self._receipt(invalidation_id, deadline)
        self._grip.tables.add(
            "writes",
            {
                "kind": "invalidation",
                "subject": invalidation_id,
                "version": str(receipt.get("index", "")),
                "asked_ns": asked_ns,
                "confirmed_ns": confirmed_ns,
            },
        )
        if step.awaits_receipt:
            self._grip.mark("receipt", invalidation_id, _describe(invalidation_id, receipt, step.receipt_seconds))
        return str(receipt.get("status", ""))

    def _configure(self, step: Configure) -> dict[str, Any]:
        distribution = self._site(step.distribution)
        asked_ns = host_nanoseconds()
        self._reach_api(lambda: self._grip.api.update(distribution.id, step.config))
        self._write("distribution", distribution.id, "", asked_ns)
        if step.awaits_deployed:
            self._grip.api.wait_deployed(distribution.id)
        return {"distribution": distribution.id}

    def _move_time(self, step: MoveTime) -> dict[str, Any]:
        asked_ns = host_nanoseconds()
        travel = move_time(self._grip.lab, self._grip.agent, step.by_seconds)
        everywhere_ns = host_nanoseconds() if travel.is_done else None
        moved = {"by_seconds": round(step.by_seconds), "index": travel.moved["index"]}
        self._grip.tables.add("time_moves", {**moved, "asked_ns": asked_ns, "everywhere_ns": everywhere_ns})
        if not travel.is_done:
            waiting = ", ".join(each.id for each in travel.answers if each.state not in ("acknowledged", "away"))
            raise LabError(f"not every node has moved its clock: {waiting}")
        self._grip.mark("time", "forward", f"the lab's clock is {format_duration(step.by_seconds)} further on")
        return {"ahead_seconds": travel.moved["ahead_seconds"], "index": travel.moved["index"]}

    def _reach_api(self, ask_api: Callable[[], T]) -> T:
        """A control plane that was just started again may take a moment until it answers."""
        deadline = host_seconds() + API_SECONDS
        while True:
            try:
                return ask_api()
            except ApiUnreachableError:
                if host_seconds() >= deadline:
                    raise
                self._grip.timeline.sleep(API_LOOK_SECONDS)

    def _site(self, name: str) -> Distribution:
        sites = self._grip.sites
        if name and name not in sites:
            raise UsageError(f"no distribution {name!r} in the scenario: there are {', '.join(sites)}")
        return sites[name] if name else next(iter(sites.values()))

    def _write(
        self,
        kind: str,
        subject: str,
        version: str | None,
        asked_ns: int,
        node: str | None = None,
        *,
        is_confirmed: bool = True,
    ) -> None:
        """What nobody confirmed may have been done all the same."""
        confirmed_ns = host_nanoseconds() if is_confirmed else None
        row = {"kind": kind, "subject": subject, "node": node, "version": version}
        self._grip.tables.add("writes", row | {"asked_ns": asked_ns, "confirmed_ns": confirmed_ns})

    def _receipt(self, invalidation_id: str, deadline: float) -> Mapping[str, Any]:
        """Complete, or as it is when the time is over; nothing when nobody shows it."""
        receipt: Mapping[str, Any] = {}
        while True:
            receipt = self.ask_receipt(invalidation_id) or receipt
            if receipt.get("status") == "Completed" or host_seconds() >= deadline:
                return receipt
            self._grip.timeline.sleep(RECEIPT_LOOK_SECONDS)

    def ask_receipt(self, invalidation_id: str) -> Mapping[str, Any] | None:
        """As a control plane that answers shows it."""
        for node in self._grip.stage.of_role(Role.CONTROL_PLANE):
            try:
                return get_json(node.admin, f"/receipts/{invalidation_id}")
            except UnreachableError:
                continue
        return None


def version_body(version: int, size_bytes: int) -> bytes:
    """What an object of a scenario says: its version on the first line, and as much as it is large."""
    head = f"version {version}\n".encode()
    filling = f"This is version {version} of an object that a scenario changes while viewers ask for it.\n".encode()
    return (head + filling * (size_bytes // len(filling) + 1))[:size_bytes]


def _describe(invalidation_id: str, receipt: Mapping[str, Any], seconds: float) -> str:
    if receipt.get("status") != "Completed":
        return f"no receipt of {invalidation_id} within {seconds:g} s"
    nodes = [node["id"] for node in receipt["nodes"] if node["state"] == "acknowledged"]
    left_out = [node["id"] for node in receipt["nodes"] if node["state"] == "left_out"]
    issued, completed = receipt.get("issued_monotonic_ns"), receipt.get("completed_monotonic_ns")
    took = "" if issued is None or completed is None else f" in {(completed - issued) / 1e6:.0f} ms"
    without = f", without {', '.join(left_out)}" if left_out else ""
    return f"receipt of {invalidation_id}: {len(nodes)} nodes{took}{without}"
