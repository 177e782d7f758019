"""What a seed means: the conditions of a run, and everything that is going to happen to it, as data. A schedule with a part left out is one as well (`shrink.py`)."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from proto.lease_times import NOTICE_SECONDS
from tests.simulation.world import Direction

DURATION_SECONDS = 11.0
LONG_SECONDS = 16.0
LONGER_SECONDS = 20.0
PATHS = ("/a", "/b/c", "/seldom")
INVALIDATION_PATHS = {"/a": ("/a", "/a", "/a", "/*"), "/b/c": ("/b/c", "/b/*"), "/seldom": ("/seldom",)}
CHANGED_SELDOM = 0.1
"""How often the last path is the one that changes: what is old there stays old for long, where the others are soon invalidated again."""
PAUSES_SECONDS = ((0.005, 0.2, 0.9), (0.2, 7.0, 9.0))
"""Between changes. Where they are many, each node that is cut off is soon behind by index, which hides what is wrong with other signs."""
LEASE_SECONDS = 2.0
PLANE, ORIGIN, ROUTER, VIEWERS = "plane", "origin", "router", "viewers"
EDGES = ("edge-1", "edge-2")
REGIONALS = ("regional-1", "regional-2")

STREAM_FAULTS = ("plane_crash", "cut", "silence", "wedge", "stall", "upstream", "new_log", "trim", "restored_backup")
PROCESS_FAULTS = ("node_crash", "leave", "wipe", "mute", "suspend", "plane_suspend")
DISK_FAULTS = ("killed_writing", "power_loss", "damaged_journal", "disk_full", "disk_slow")
FAULTS = (*STREAM_FAULTS, *PROCESS_FAULTS, "partition", "clock_step", "restarts_long_after_a_cut")
ONCE = ("new_log", "restarts_long_after_a_cut")
STOPS = ("node_crash", "leave", "wipe", "power_loss", "damaged_journal")
CALM_SEEDS = 0.35
"""In how many of them there are two kinds of faults only: what shows after some quiet seconds, shows there."""
QUIET_SEEDS = 0.1
"""In how many of them somebody is cut off for long and little else happens."""
ROUTER_FAULTS = ("router_crash", "router_disk_full", "suspend", "router and plane", "viewers and router")
ROUTED_SEEDS = 0.15
"""In how many of them there is a router."""
DOUBLED_SEEDS = 0.06
"""In how many of them a node has two processes for a while, so that nothing is asked of it, but all the more of the others."""
SHELL_SEEDS = 0.1
"""In how many of them the product's own shells run, which takes twice the time."""
HEALED_AFTER_SECONDS = (0.05, 0.6, 2.0, 3.2)
CLOCK_STEPS_SECONDS = (-3600.0, -5.0, 5.0, 3600.0, 2 * 86_400.0)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds all the time."""

    is_fenced: bool = True
    """Else nodes without a lease serve what they have, and owe only what rules 1 to 9 promise: of those who hold a lease. Rule 10 would hide mistakes in them."""
    is_everybody_mute: bool = False
    """Nobody asks anybody: what holds then holds by the clocks alone, and no other protection hides a mistake of them. It takes longer to show."""
    stall_probability: float = 0.0
    is_origin_failing: bool = False
    regionals: tuple[str, ...] = REGIONALS[:1]
    duration_seconds: float = DURATION_SECONDS
    has_router: bool = False
    has_shells: bool = False
    """SyncService, NodeSession and ControlClient are the product's, and no models of them."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is done to the network, or asked of it."""

    at: float
    kind: str
    subject: str = ""
    seconds: float = 0.0
    """How long it lasts, or how much later the second half of it comes."""
    detail: str = ""
    cut: tuple[Direction, ...] = ()

    def __str__(self) -> str:
        said = " ".join(part for part in (self.kind, self.subject, self.detail) if part)
        ways = ", ".join(f"{source} > {target}" for source, target in self.cut)
        lasting = f" for {self.seconds:.2f} s" if self.seconds else ""
        return f"{said} {ways}".rstrip() + lasting


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    conditions: Conditions
    events: tuple[Event, ...]


def plan_of(seed: int) -> Plan:
    """Each seed has a random part of the faults, so that rare combinations get seeds of their own."""
    rng = random.Random(f"plan {seed}")
    faults = [fault for fault in FAULTS if rng.random() < 0.35]
    if rng.random() < 0.5:  # by itself, or one kind of fault would hide the other's mistakes
        faults = [fault for fault in faults if rng.random() < 0.6] + rng.sample(DISK_FAULTS, 2)
    is_calm = rng.random() < CALM_SEEDS
    if is_calm:
        faults = rng.sample(FAULTS, 2)
    is_quiet = rng.random() < QUIET_SEEDS
    if is_quiet:
        faults = [rng.choice(("restarts_long_after_a_cut", "partition"))]
    is_calm |= is_quiet
    is_fenced = is_quiet or rng.random() < 0.6
    is_everybody_mute = is_fenced and not is_quiet and rng.random() < 0.3
    if is_everybody_mute:
        faults += rng.sample(("cut", "silence", "stall", "plane_crash"), 2)
    if rng.random() < 0.3 and not is_calm:
        faults.append("ledger_full")
    takes_long = not {"restored_backup", "partition", "restarts_long_after_a_cut"}.isdisjoint(faults)
    conditions = Conditions(
        is_fenced,
        is_everybody_mute,
        rng.choice((0.02, 0.1, 0.3)) if "stall" in faults else 0.0,
        "upstream" in faults,
        REGIONALS[: rng.choice((1, 1, 2))],
        LONGER_SECONDS if is_everybody_mute else LONG_SECONDS if takes_long else DURATION_SECONDS,
    )
    events = [
        *_operations(rng, conditions, PAUSES_SECONDS[1:] if is_calm else PAUSES_SECONDS[:1]),
        *_looks(rng, conditions),
    ]
    planner = FaultPlanner(rng, conditions)
    for fault in sorted(set(faults) - {"stall", "upstream"}):
        events.extend(planner.all_of(fault))
    doubling = random.Random(f"twins {seed}")  # of its own: most seeds mean what they mean without
    if doubling.random() < DOUBLED_SEEDS:
        events.extend(FaultPlanner(doubling, conditions).all_of("twin"))
    routing = random.Random(f"router {seed}")
    if routing.random() < ROUTED_SEEDS:
        conditions = replace(conditions, has_router=True)
        events.extend(_at_router(routing, conditions))
    if random.Random(f"shells {seed}").random() < SHELL_SEEDS:
        conditions = replace(conditions, has_shells=True)
    return Plan(seed, conditions, tuple(sorted(events, key=lambda event: event.at)))


def _operations(rng: random.Random, conditions: Conditions, pauses: Sequence[tuple[float, ...]]) -> Iterator[Event]:
    """Changes of objects, each followed by its invalidation; and other entries of the log."""
    now, pause = 0.3, rng.choice(pauses)
    while now < conditions.duration_seconds:
        path = PATHS[-1] if rng.random() < CHANGED_SELDOM else rng.choice(PATHS[:-1])
        if rng.random() < 0.1:
            yield Event(now, "configure")
        yield Event(now, "change", path, rng.choice((0.0, 0.002, 0.05)), rng.choice(INVALIDATION_PATHS[path]))
        now += rng.choice(pause)


def _looks(rng: random.Random, conditions: Conditions) -> Iterator[Event]:
    now = 0.2
    while now < conditions.duration_seconds:
        yield Event(now, "look")
        now += rng.uniform(0.05, 0.6)


def _at_router(rng: random.Random, conditions: Conditions) -> Iterator[Event]:
    """What happens to a router, and to the way to it."""
    now = rng.uniform(0.3, 4.0)
    while now < conditions.duration_seconds:
        kind, seconds = rng.choice(ROUTER_FAULTS), rng.choice(HEALED_AFTER_SECONDS)
        ways = rng.choice(("both", "both", "there", "back"))
        match kind:
            case "router and plane":
                yield Event(now, "partition", "", 3 * seconds, cut=directions([ROUTER], [PLANE], ways))
            case "viewers and router":
                yield Event(now, "partition", "", 3 * seconds, cut=directions([VIEWERS], [ROUTER], ways))
            case _:
                yield Event(now, kind, ROUTER, seconds)
        now += seconds + rng.uniform(0.2, 3.0)


class FaultPlanner:
    """Plans faults of each kind, again and again until the end."""

    def __init__(self, rng: random.Random, conditions: Conditions) -> None:
        self._rng = rng
        self._conditions = conditions
        self._nodes = (*EDGES, *conditions.regionals)
        self._processes = (PLANE, ORIGIN, *self._nodes)

    def all_of(self, fault: str) -> Iterator[Event]:
        """Of one kind."""
        rng = self._rng
        now = rng.uniform(0.3, 4.0)
        while now < self._conditions.duration_seconds:
            seconds = rng.choice(HEALED_AFTER_SECONDS)
            yield from self._once(fault, now, seconds)
            if fault in ONCE:
                return
            now += seconds + rng.uniform(0.2, 3.0)

    def _once(self, fault: str, at: float, seconds: float) -> Iterator[Event]:
        rng = self._rng
        node = rng.choice(self._nodes)
        event = Event(at, fault, node, seconds)
        match fault:
            case "plane_crash" | "plane_suspend" | "new_log" | "clock_step" | "ledger_full":
                yield from self._at_plane(replace(event, subject=""), node)
            case "restored_backup":
                yield from self._restored(at)
            case "cut" | "silence":
                yield event
                yield self._cut_off(event)
            case "killed_writing":
                yield replace(event, detail=str(rng.randrange(1, 5)))
            case "disk_full":
                yield replace(event, detail=rng.choice(("", "and the process is killed")))
            case "restarts_long_after_a_cut":
                yield from self._restarts_long_after_a_cut(at)
            case "partition":
                yield from self._partitions(event)
            case "twin":
                yield from self._second_process(event)
            case _:
                yield event
                if fault in STOPS:
                    yield from self._restarts(event)

    def _at_plane(self, event: Event, node: str) -> Iterator[Event]:
        rng = self._rng
        match event.kind:
            case "clock_step":
                step = str(rng.choice(CLOCK_STEPS_SECONDS))
                yield replace(event, seconds=min(event.seconds, 0.6), detail=step)
                return
            case "ledger_full":
                yield replace(event, detail=rng.choice(("", "and the control plane is killed")))
                return
        yield event
        if event.kind == "plane_crash" and self._conditions.is_everybody_mute:
            yield self._cut_off(
                replace(event, subject=node)
            )  # what takes the control plane takes the way to somebody, too
        if event.kind == "new_log" and rng.random() < 0.4:
            for each in self._nodes:
                yield Event(event.at, "killed_writing", each, event.seconds + 0.5, str(rng.randrange(1, 5)))

    def _second_process(self, event: Event) -> Iterator[Event]:
        """Of a node; or one that takes the place of the first, which is not heard meanwhile."""
        rng = self._rng
        if rng.random() < 0.5:
            yield event
            return
        yield replace(event, kind="cut")
        yield self._cut_off(event)
        yield replace(event, at=event.at + 0.1, seconds=rng.choice((3.0, LEASE_SECONDS + NOTICE_SECONDS)))
        yield Event(event.at + rng.uniform(0.4, 3.0), "change", PATHS[0], 0.0, PATHS[0])

    def _cut_off(self, event: Event) -> Event:
        """For so long, or until a node must have noticed that it is."""
        seconds = self._rng.choice((event.seconds, LEASE_SECONDS + 2 * NOTICE_SECONDS))
        return Event(event.at, "cut_off", event.subject, seconds)

    def _restarts(self, event: Event) -> Iterator[Event]:
        rng, node, back_at = self._rng, event.subject, event.at + event.seconds
        if rng.random() < 0.5:  # viewers are there before the control plane is
            yield Event(back_at - 0.001, "cut_off", node, 0.8)
        if rng.random() < 0.4:  # and once more, at once
            yield Event(back_at + 0.1, "node_crash", node, 0.05)

    def _restarts_long_after_a_cut(self, at: float) -> Iterator[Event]:
        """An edge, or a regional cache beside it, has been cut off for so long that receipts leave it out; then the edge restarts, and is not heard at first."""
        rng = self._rng
        edge, stop = rng.choice(EDGES), rng.choice(("node_crash", "power_loss", "damaged_journal"))
        cut_off = rng.choice((edge, edge, rng.choice(self._conditions.regionals)))
        yield Event(at - 0.05, "configure")
        cut = directions([cut_off], [PLANE], rng.choice(("both", "back")))
        yield Event(at, "partition", "", 4 * NOTICE_SECONDS, cut=cut)
        stops = Event(at + rng.uniform(7.0, 9.0), stop, edge, 0.05)
        changed_at = rng.choice((at + rng.uniform(5.0, 7.0), stops.at + rng.uniform(0.4, 1.2)))
        yield Event(changed_at, "change", PATHS[0], 0.0, PATHS[0])
        if rng.random() < 0.7:
            yield stops
            yield Event(stops.at + 0.04, "cut_off", edge, rng.uniform(0.5, 2.0))

    def _restored(self, at: float) -> Iterator[Event]:
        """A backup, and the moment when it is put in the place of the database; made as a backup, or copied by hand, which nobody is told."""
        rng = self._rng
        seconds = rng.uniform(0.2, 1.2)
        yield Event(at, "restored_backup", "", seconds, rng.choice(("as another log", "as it is")))
        for node in self._nodes:
            if rng.random() < 0.6:  # while the log goes on
                yield Event(at + seconds, "cut_off", node, 1.1 * LEASE_SECONDS + 0.25 + rng.uniform(0.1, 2.0))

    def _partitions(self, event: Event) -> Iterator[Event]:
        """One; or one node first and all others later, and not for long, so that those who could tell it how things stand do not know it themselves."""
        rng, node = self._rng, event.subject
        if rng.random() < 0.75:
            yield self._partition(event)
            return
        lasting, others = LEASE_SECONDS + 2 * NOTICE_SECONDS, [name for name in self._nodes if name != node]
        yield replace(event, subject="", seconds=lasting, cut=directions([node], [PLANE], "both"))
        later, ways = event.at + rng.uniform(0.5, 2.0), rng.choice(("both", "there", "back"))
        cut = directions(others, [PLANE], ways)
        yield Event(later, "partition", "", rng.uniform(2.0, 5.0), cut=cut)

    def _partition(self, event: Event) -> Event:
        rng = self._rng
        kind = rng.choice(("node and plane", "one from all", "two nodes", "halves", "halves", "among nodes"))
        sides = self._sides(kind, event.subject)
        ways = rng.choice(("both", "both", "there", "back"))
        seconds = rng.choice((event.seconds, 1.0, 4.5, LEASE_SECONDS + NOTICE_SECONDS + 3.0))
        return replace(event, subject="", seconds=seconds, cut=directions(*sides, ways))

    def _sides(self, kind: str, node: str) -> tuple[Sequence[str], Sequence[str]]:
        rng, others = self._rng, [name for name in self._processes if name != node]
        match kind:
            case "node and plane":
                return [node], [PLANE]
            case "one from all":
                return [node], others
            case "two nodes":
                return [node], [rng.choice([name for name in self._nodes if name != node])]
            case "among nodes":
                return [node], [name for name in self._nodes if name != node]
            case _:
                one = [name for name in self._processes if rng.random() < 0.5]
                return one, [name for name in self._processes if name not in one]


def directions(one: Sequence[str], other: Sequence[str], ways: str) -> tuple[Direction, ...]:
    """All from one side to the other, or back, or both."""
    there = [(source, target) for source in one for target in other]
    back = [(target, source) for source, target in there]
    match ways:
        case "there":
            return tuple(there)
        case "back":
            return tuple(back)
        case _:
            return (*there, *back)
