"""What a run's own requests come to by prediction, beside what its tiers say: the recorded requests in the order of the run, each at the edge that answered it.

Caches are taken to be empty at the beginning, and a fill to take no time. What cannot be predicted from what was recorded is unknown, with the reason, and never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lab.durations import parse_duration
from lab.errors import LabError
from lab.history.reader import History
from lab.history.run_files import RunData
from lab.prediction.caching_rules import (
    DAY_SECONDS,
    RULES_OF_PROFILES,
    YEAR_SECONDS,
    CachingRules,
    Rule,
    keyed_target,
    policy_of,
)
from lab.prediction.network import Network, WhatIf, build_network
from lab.prediction.simulation import DEFAULT_HEAD_BYTES, Invalidation, OriginAnswers, Prediction, Simulation
from lab.prediction.tiers import NOTHING_KNOWN, PredictedCache
from lab.report.data.history_curves import CACHEABLE, CACHED
from lab.topology.choice import TopologyChoice
from lab.topology.model import Topology
from lab.topology.reader import find_topology, shipped_names
from loadtests.traces.trace_request import TraceRequest
from proto.moments import NANOSECONDS_PER_SECOND

MOST_REQUESTS = 200_000
"""About two seconds of a report."""
SCENARIO_FILE = "scenario.yaml"


@dataclass(frozen=True, slots=True)
class PredictedValue:
    """One figure of a run; ratios from 0 to 1."""

    name: str
    predicted: float | None
    measured: float | None
    is_ratio: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """Figures, or why there are none."""

    values: tuple[PredictedValue, ...] = ()
    unknown: str = ""


class _Unpredictable(Exception):  # noqa: N818 - no error, a reason
    """Why."""


class _Asked(NamedTuple):
    """A row of `requests`."""

    started_ns: int
    address: str
    method: str
    path: str
    status: int
    size: int | None
    entity_tag: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the origin said of a path, as viewers saw it (KnownAnswer)."""

    size_bytes: int
    cache_control: str | None
    has_validator: bool
    head_bytes: int = DEFAULT_HEAD_BYTES


def forecast_of(run: RunData, history: History, run_directory: Path) -> Forecast | None:
    """None for a run without a history of requests."""
    if "requests" in history.missing or "served" in history.missing:
        return None
    try:
        _refuse(history)
        network = build_network(_topology_of(run), WhatIf(), RULES_OF_PROFILES.distribution_id)
        prediction = _predict(history, network, _rules_of(run_directory))
    except (_Unpredictable, LabError) as reason:
        return Forecast(unknown=str(reason))
    return Forecast(values=tuple(_values(prediction, history)))


def _refuse(history: History) -> None:
    """_Unpredictable for a run that is about other things than what caches do by themselves."""
    count, hosts, failed, parts, coded = history.rows(
        """SELECT count(*), count(DISTINCT host), count(*) FILTER (status IS NULL OR status >= 400),
                  count(*) FILTER (content_range IS NOT NULL OR status = 206), count(content_encoding) FROM requests"""
    )[0]
    reasons = {
        "no request was recorded": count == 0,
        f"{count:,} requests are more than a report predicts ({MOST_REQUESTS:,})": count > MOST_REQUESTS,
        "there were faults": bool(history.value("SELECT count(*) FROM faults")),
        "the lab's time was moved": bool(history.value("SELECT count(*) FROM time_moves")),
        "requests were for several distributions": hosts > 1,
        "requests failed, or were answered with errors": failed > 0,
        "viewers asked for parts of objects": parts > 0,
        "answers were compressed": coded > 0,
    }
    for reason, holds in reasons.items():
        if holds:
            raise _Unpredictable(reason)


def _topology_of(run: RunData) -> Topology:
    """The one that ships under the run's name for it, with the same nodes."""
    name = run.summary.get("topology_name")
    nodes = {str(each.get("id")) for each in run.summary.get("nodes", []) if each.get("role") in ("edge", "regional")}
    for shipped in shipped_names():
        topology = find_topology(TopologyChoice(shipped))
        if topology.name == name:
            network = build_network(topology, WhatIf(), RULES_OF_PROFILES.distribution_id)
            if {place.node for place in network.caches} == nodes:
                return topology
    raise _Unpredictable(f"topology {name} is none that ships, and the sizes of its caches are not recorded")


def _rules_of(run_directory: Path) -> CachingRules:
    """Of the scenario's distribution; without a scenario, of the one that `cdnlab load` uses."""
    path = run_directory / SCENARIO_FILE
    if not path.exists():
        return RULES_OF_PROFILES
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        extension = next(each for each in document["extensions"] if each["name"] == "cdnlab")
        (site,) = extension["distributions"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration):
        raise _Unpredictable("the scenario has not one distribution of its own") from None
    unusual = sorted({"config", "failover", "semantics"} & site.keys())
    if unusual:
        raise _Unpredictable(f"the distribution has {', '.join(unusual)}, which is not predicted")
    behaviors = [_rule(str(each["path"]), each.get("cache")) for each in site.get("behaviors", [])]
    return CachingRules((*behaviors, _rule("*", site.get("cache"))))


def _rule(pattern: str, cache: object) -> Rule:
    if cache is None or cache == "optimized":
        return Rule(pattern, policy_of(1, DAY_SECONDS, YEAR_SECONDS, has_queries=False))
    if cache == "disabled":
        return Rule(pattern, policy_of(0, 0, 0, has_queries=False))
    if not isinstance(cache, Mapping):
        raise _Unpredictable(f"what the distribution caches is not understood: {cache!r}")
    minimum, default, maximum = (_seconds(cache.get(name, usual)) for name, usual in _TTLS.items())
    cookies = tuple(str(each).encode() for each in cache.get("cookies", ()))
    has_queries = bool(cache.get("query_strings"))
    return Rule(pattern, policy_of(minimum, default, maximum, has_queries=has_queries, cookies=cookies))


_TTLS = {"min_ttl": 0, "default_ttl": DAY_SECONDS, "max_ttl": YEAR_SECONDS}


def _seconds(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else int(parse_duration(str(value)))


def _predict(history: History, network: Network, rules: CachingRules) -> Prediction:
    answers = _answers(history, rules)
    simulation = Simulation(network, rules, OriginAnswers(known=answers.__getitem__), _invalidations(history))
    edges = _edges(history, network)
    sizes: dict[tuple[str, str | None], int] = {}
    versions: dict[str | None, int] = {}
    first = history.value("SELECT min(coalesce(started_ns, intended_ns)) FROM requests")
    for row in map(_Asked._make, history.rows(_REQUESTS)):
        is_not_modified = row.status == 304
        size = row.size if row.size is not None and not is_not_modified else sizes.get((row.path, row.entity_tag))
        if size is not None:
            sizes[row.path, row.entity_tag] = size
        edge = edges.get(row.address)
        if edge is None:
            raise _Unpredictable(f"requests went to {row.address}, which is no edge of the topology")
        at_seconds = (row.started_ns - first) / NANOSECONDS_PER_SECOND
        request = TraceRequest(at_seconds, row.path, size or 0, method=row.method)
        version = versions.setdefault(row.entity_tag, len(versions))
        simulation.ask(request, edge, version if is_not_modified else NOTHING_KNOWN, version)
    return simulation.result()


_REQUESTS = """SELECT coalesce(started_ns, intended_ns) AS began, address, method, path, status, coalesce(content_length, received_bytes), entity_tag
               FROM requests ORDER BY began, id"""


def _answers(history: History, rules: CachingRules) -> dict[str, _Answer]:
    """By target as it is keyed."""
    rows = history.rows(
        """SELECT path, max(coalesce(content_length, received_bytes)) FILTER (status <> 304), any_value(cache_control), count(entity_tag) > 0
           FROM requests GROUP BY path"""
    )
    return {
        keyed_target(path, rules.policy_for(path)): _Answer(size or 0, control, bool(has_tag))
        for path, size, control, has_tag in rows
    }


def _invalidations(history: History) -> list[Invalidation]:
    """Everywhere when the control plane took them: nodes learn of them within milliseconds."""
    first = history.value("SELECT min(coalesce(started_ns, intended_ns)) FROM requests")
    rows = history.rows("SELECT coalesce(issued_ns, asked_ns), paths FROM invalidations WHERE paths IS NOT NULL")
    return [Invalidation((at - first) / NANOSECONDS_PER_SECOND, paths.split()) for at, paths in rows]


def _edges(history: History, network: Network) -> dict[str, PredictedCache]:
    """By the address at which viewers find them."""
    caches = {place.node: cache for place, cache in network.caches.items() if place.tier == "edge"}
    rows = history.rows("SELECT node, address FROM nodes WHERE role = 'edge'")
    return {str(address): caches[node] for node, address in rows if node in caches}


def _values(prediction: Prediction, history: History) -> list[PredictedValue]:
    rows = history.rows(
        f"""SELECT role, count(*) FILTER ({CACHED}), count(*) FILTER ({CACHEABLE})
            FROM served JOIN nodes USING (node) GROUP BY role"""  # noqa: S608 - ours
    )
    measured = {role: hits / total if total else None for role, hits, total in rows}
    values = [
        PredictedValue(f"hit ratio, {tier}", prediction.of_tier(tier).hit_ratio, measured.get(tier), is_ratio=True)
        for tier in prediction.tiers
    ]
    fetches = history.value("SELECT count(*) FROM origin_requests WHERE method IN ('GET', 'HEAD')")
    at_origin = None if "origin_requests" in history.missing else float(fetches)
    return [*values, PredictedValue("origin fetches", prediction.origin.requests, at_origin, is_ratio=False)]
