"""The map of a run: what is where, and what went between it in each phase of the run. Plain values, placed by `summary.json`.

A *site* is what shares a symbol on the map: the edges of one POP, the regional caches, routers or origins of one region, the viewers of one region. Traffic is
counted from the history. A run without one has its sites, what its nodes counted, and the distances between regions, and no traffic between them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.history.reader import History
from lab.history.run_files import RunData, request_increases
from lab.report.data.axis import Axis
from lab.report.data.happenings import Band
from lab.report.data.history_curves import CACHEABLE, CACHED
from proto.moments import NANOSECONDS_PER_SECOND

VIEWERS = "viewers"
# More phases than fit in a row of buttons say little: the faults of a storm are one phase.
MOST_FAULT_PHASES = 5


@dataclass(frozen=True, slots=True)
class Site:
    """`latitude` and `longitude` in degrees; `users` of viewers."""

    id: str
    role: str
    name: str
    region: str
    latitude: float
    longitude: float
    nodes: tuple[str, ...] = ()
    users: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run, in seconds of the axis, and the nodes that were faulted in it."""

    label: str
    began: float
    ended: float
    faulted: Mapping[str, str] = field(default_factory=dict)
    """What was done to a node or link, by its name."""


@dataclass(frozen=True, slots=True)
class Flow:
    """From one site to another, or, where `origin` or `target` is empty, from or to somewhere that has no place."""

    source: str
    target: str
    hop: str
    """`edge`, `regional` or `origin`: the role of who was asked."""
    requests: int
    received_bytes: int
    errors: int


@dataclass(frozen=True, slots=True)
class SiteLoad:
    """What a site answered: `hits` of `cacheable` came from its cache."""

    requests: int
    hits: int
    cacheable: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class PhaseTraffic:
    """What happened in one phase."""

    phase: Phase
    flows: tuple[Flow, ...]
    loads: Mapping[str, SiteLoad]
    """By site."""


def sites_of(summary: Mapping[str, Any]) -> tuple[Site, ...]:
    """Those with a place, viewers first."""
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in summary.get("populations", []):
        grouped.setdefault((VIEWERS, str(each.get("region", ""))), []).append(each)
    for each in summary.get("nodes", []):
        if each.get("role") != "wan":
            where = str((each.get("role") == "edge" and each.get("pop")) or each.get("region", ""))
            grouped.setdefault((str(each.get("role", "")), where), []).append(each)
    return tuple(
        _site(role, name, members)
        for (role, name), members in grouped.items()
        if members[0].get("latitude") is not None and members[0].get("longitude") is not None
    )


def _site(role: str, name: str, members: list[Mapping[str, Any]]) -> Site:
    first = members[0]
    return Site(
        id=f"{role}@{name}",
        role=role,
        name=name,
        region=str(first.get("region", "")),
        latitude=float(first["latitude"]),
        longitude=float(first["longitude"]),
        nodes=tuple(str(each["id"]) for each in members if "id" in each),
        users=sum(int(each.get("users", 0)) for each in members),
    )


def phases_of(faults: tuple[Band, ...], axis: Axis) -> tuple[Phase, ...]:
    """The whole run; and if there were faults, what was before, during each of them, and after."""
    whole = Phase("Whole run", 0.0, axis.duration_seconds, _faulted(faults))
    if not faults:
        return (whole,)
    began, ended = min(each.began for each in faults), max(each.ended for each in faults)
    if len(faults) <= MOST_FAULT_PHASES:
        during = [Phase(each.label, each.began, each.ended, _faulted((each,))) for each in faults]
    else:
        during = [Phase(f"During {len(faults)} faults", began, ended, _faulted(faults))]
    phases = [whole, Phase("Before", 0.0, began), *during, Phase("After", ended, axis.duration_seconds)]
    return tuple(phase for phase in phases if phase.ended > phase.began)


def _faulted(faults: tuple[Band, ...]) -> dict[str, str]:
    """The place stands beside it, and is not said twice."""
    return {place: each.label.replace(place, "").strip() or each.label for each in faults for place in each.places}


class World:
    """Counts the traffic between sites; `sites` are those of the run."""

    def __init__(self, sites: tuple[Site, ...], run: RunData, history: History, axis: Axis) -> None:
        self._run, self._history, self._axis = run, history, axis
        self._by_node = {node: site.id for site in sites for node in site.nodes}
        self._viewers = {site.region: site.id for site in sites if site.role == VIEWERS}
        self.has_traffic = history.value("SELECT count(*) FROM viewer_requests") > 0

    def traffic(self, phase: Phase) -> PhaseTraffic:
        """Of what began in the phase."""
        flows = (*self._of_viewers(phase), *self._between_tiers(phase)) if self.has_traffic else ()
        loads = self._served(phase) if "served" not in self._history.missing else self._counted(phase)
        return PhaseTraffic(phase, flows, loads)

    def _moments(self, phase: Phase) -> list[int]:
        return [self._axis.moment_ns(phase.began), self._axis.moment_ns(phase.ended)]

    def _of_viewers(self, phase: Phase) -> list[Flow]:
        rows = self._history.rows(
            """SELECT r.region, n.node, count(*), coalesce(sum(r.received_bytes), 0), count(*) FILTER (r.error IS NOT NULL)
               FROM viewer_requests r LEFT JOIN nodes n ON n.role = 'edge' AND n.address = split_part(r.address, ':', 1)
               WHERE r.intended_ns BETWEEN ? AND ? GROUP BY 1, 2""",
            self._moments(phase),
        )
        found = [
            (self._viewers.get(region, ""), self._by_node.get(node, ""), "edge", *rest) for region, node, *rest in rows
        ]
        return _summed(found)

    def _between_tiers(self, phase: Phase) -> list[Flow]:
        rows = self._history.rows(
            """SELECT f.node, n.node, f.tier, count(*), coalesce(sum(f.received_bytes), 0), count(*) FILTER (f.error IS NOT NULL)
               FROM fills f LEFT JOIN nodes n ON n.role = f.tier AND n.address = split_part(f.upstream, ':', 1)
               WHERE f.started_ns BETWEEN ? AND ? GROUP BY 1, 2, 3""",
            self._moments(phase),
        )
        found = [(self._by_node.get(node, ""), self._by_node.get(to, ""), *rest) for node, to, *rest in rows]
        return _summed(found)

    def _served(self, phase: Phase) -> dict[str, SiteLoad]:
        rows = self._history.rows(
            f"""SELECT node, count(*), count(*) FILTER ({CACHED}), count(*) FILTER ({CACHEABLE}), coalesce(sum(sent_bytes), 0)
                FROM served WHERE started_ns BETWEEN ? AND ? GROUP BY node
                UNION ALL SELECT node, count(*), 0, 0, coalesce(sum(body_bytes), 0)
                FROM origin_requests WHERE started_ns BETWEEN ? AND ? GROUP BY node""",  # noqa: S608 - ours
            self._moments(phase) * 2,
        )
        return self._by_site({node: SiteLoad(*(int(value) for value in values)) for node, *values in rows})

    def _counted(self, phase: Phase) -> dict[str, SiteLoad]:
        """By the counters of the nodes, which know of no bytes of a phase."""
        zero = self._axis.zero_ns / NANOSECONDS_PER_SECOND
        loads: dict[str, SiteLoad] = {}
        for line, step in request_increases(self._run):
            if phase.began <= float(line["time"]) - zero <= phase.ended:
                hits = int(step.get("hit", 0) + step.get("refresh_hit", 0))
                one = SiteLoad(int(sum(step.values())), hits, hits + int(step.get("miss", 0)), 0)
                node = str(line["node"])
                loads[node] = _added(loads.get(node), one)
        return self._by_site(loads)

    def _by_site(self, loads: Mapping[str, SiteLoad]) -> dict[str, SiteLoad]:
        found: dict[str, SiteLoad] = {}
        for node, load in loads.items():
            if node in self._by_node:
                site = self._by_node[node]
                found[site] = _added(found.get(site), load)
        return found


def _added(one: SiteLoad | None, other: SiteLoad) -> SiteLoad:
    if one is None:
        return other
    return SiteLoad(
        one.requests + other.requests,
        one.hits + other.hits,
        one.cacheable + other.cacheable,
        one.sent_bytes + other.sent_bytes,
    )


def _summed(found: list[Any]) -> list[Flow]:
    """Nodes of one site are one end; the biggest first."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    for source, target, hop, *counts in found:
        total = sums.setdefault((source, target, str(hop)), [0, 0, 0])
        for place, count in enumerate(counts):
            total[place] += int(count)
    flows = [Flow(*ends, *total) for ends, total in sums.items()]
    return sorted(flows, key=lambda flow: (-flow.requests, flow.source, flow.target))
