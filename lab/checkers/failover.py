"""The failover table: for each fault when it was detected, decided on, told, when viewers were well and when caches were full again; and what viewers saw meanwhile.

Five times in seconds since the fault was injected, or none with the reason. Which stages there are depends on what was broken:

- a cache or a router that goes is noticed by its lease, decided on in the directory, and propagated when the last router follows;
- an origin that fails is noticed by the first error upstream, and decided on when a cache goes to another origin or gives what is stale instead;
- of links and of the control plane itself nobody decides anything: what follows is said by leases, or is no stage at all.

Pure: a history in, a value out that a report draws. Nothing here is a promise; `recovery` and `departure` judge.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lab.checkers.failover_viewers import CacheRefill, RegionView, refilled, viewers_during, well_since
from lab.history.reader import History

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the five times."""

    seconds: float | None
    """Since the fault was injected; None: it did not come, or there is none."""
    says: str
    """What was seen, or why there is none."""


@dataclass(frozen=True, slots=True)
class Failover:
    """One fault, whatever number of places it has."""

    id: str
    fault: str
    places: tuple[str, ...]
    injected_ns: int
    healed_ns: int | None
    detected: Stage
    decided: Stage
    propagated: Stage
    viewers_well: Stage
    cache_refilled: Stage
    regions: tuple[RegionView, ...]
    """What viewers saw, by region."""

    def to_json(self) -> dict[str, Any]:
        """As the report has it."""
        return asdict(self)


def failover_table(history: History) -> tuple[Failover, ...]:
    """Every fault of the run that was injected, in order."""
    rows = history.records(
        """SELECT id, any_value(fault) AS fault, list(DISTINCT place ORDER BY place) AS places, min(began_ns) AS began_ns, max(injected_ns) AS injected_ns,
            min(healing_ns) AS healing_ns, max(healed_ns) AS healed_ns FROM faults GROUP BY id HAVING max(injected_ns) IS NOT NULL ORDER BY began_ns, id"""
    )
    roles: dict[str, str] = dict(history.rows("SELECT node, role FROM nodes"))
    end_ns = history.value("SELECT max(ended_ns) FROM requests") or 0
    return tuple(_of(history, row, roles, max(end_ns, row["injected_ns"])) for row in rows)


def _of(history: History, fault: dict[str, Any], roles: dict[str, str], end_ns: int) -> Failover:
    until = fault["healing_ns"] or end_ns
    role = next((roles[place] for place in fault["places"] if place in roles), "link")
    detected, decided, propagated = _stages(history, fault, role, until)
    regions = viewers_during(history, fault["began_ns"], fault["injected_ns"], until, fault["healed_ns"] or end_ns)
    return Failover(
        fault["id"],
        fault["fault"],
        tuple(fault["places"]),
        fault["injected_ns"],
        fault["healed_ns"],
        detected,
        decided,
        propagated,
        _viewers_well(history, fault, until),
        _refilled(refilled(history, fault["places"], fault["began_ns"], fault["injected_ns"])),
        regions,
    )


def _stages(history: History, fault: dict[str, Any], role: str, until: int) -> tuple[Stage, Stage, Stage]:
    match role:
        case "edge" | "regional" | "dns_router":
            return _of_leases(history, fault, role, until)
        case "origin":
            told = Stage(None, "origins are not routed to: each cache decides for itself")
            return _origin_detected(history, fault, until), _origin_decided(history, fault, until), told
        case "control_plane":
            lost = _first(history, _LOST_LEASE, [fault["began_ns"], until], fault)
            none = "nobody decides for the control plane: nodes go on by what they know"
            return lost or Stage(None, "no lease ended before it was healed"), Stage(None, none), Stage(None, none)
        case _:
            lost = _first(history, _LOST_LEASE, [fault["began_ns"], until], fault)
            failed = _first(history, _FAILED_FILL, [fault["began_ns"], until], fault)
            found = sorted((each for each in (lost, failed) if each), key=lambda stage: stage.seconds or 0.0)
            left = history.records(_LEFT + " ORDER BY at_ns LIMIT 1", [fault["began_ns"], until])
            nobody = Stage(None, "no lease ended and no fill failed before it was healed")
            return found[0] if found else nobody, *_decided(history, fault, left, until)


def _of_leases(history: History, fault: dict[str, Any], role: str, until: int) -> tuple[Stage, Stage, Stage]:
    values = [fault["began_ns"], until]
    left = history.records(
        _LEFT + " AND node IN (SELECT unnest(?::VARCHAR[])) ORDER BY at_ns LIMIT 1", [*values, fault["places"]]
    )
    lost = _first(history, _OWN_LEASE, [*values, fault["places"]], fault)
    failed = _first(history, _FAILED_AT, [*values, fault["places"]], fault)
    gone = _stage(fault, left[0]["at_ns"], f"the control plane: {left[0]['says']}") if left else None
    found = sorted((each for each in (lost, failed, gone) if each), key=lambda stage: stage.seconds or 0.0)
    nobody = Stage(None, "its lease did not end, and nobody failed to reach it, before it was healed")
    decided, propagated = _decided(history, fault, left, until)
    if role != "edge" and decided.seconds is not None:
        propagated = Stage(None, f"routers name edges only, and this is the role {role}")
    return found[0] if found else nobody, decided, propagated


def _decided(
    history: History, fault: dict[str, Any], left: Sequence[dict[str, Any]], until: int
) -> tuple[Stage, Stage]:
    if not left:
        why = (
            "nobody wrote down the directory" if "directory" in history.missing else "no node left the directory for it"
        )
        return Stage(None, why), Stage(None, why)
    row = left[0]
    decided = _stage(fault, row["at_ns"], f"the control plane: {row['says']}, directory {row['version']}")
    routers = history.records(_ROUTED, [row["version"], row["at_ns"], until])
    late = [each["router"] for each in routers if each["at_ns"] is None]
    if not routers or late:
        return decided, Stage(None, f"not followed before it was healed: {', '.join(late) or 'no router is known'}")
    last = max(routers, key=lambda each: int(each["at_ns"]))
    return decided, _stage(fault, last["at_ns"], f"{last['router']} was the last of {len(routers)} to follow")


def _origin_detected(history: History, fault: dict[str, Any], until: int) -> Stage:
    found = _first(history, _FAILED_FILL, [fault["began_ns"], until], fault)
    return found or Stage(None, "no cache asked an origin in vain before it was healed")


def _origin_decided(history: History, fault: dict[str, Any], until: int) -> Stage:
    values = [fault["began_ns"], until]
    other = _first(history, _OTHER_ORIGIN, values, fault)
    stale = _first(history, _STALE, values, fault)
    found = sorted((each for each in (other, stale) if each), key=lambda stage: stage.seconds or 0.0)
    return found[0] if found else Stage(None, "no cache went to another origin, or gave what is stale instead")


def _viewers_well(history: History, fault: dict[str, Any], until: int) -> Stage:
    since = well_since(history, fault["began_ns"], until)
    if since is None:
        return Stage(None, "no viewer asked while it was in force")
    if since.is_never:
        return Stage(None, f"requests in {since.region} failed until it was healed")
    if since.at_ns is None:
        return Stage(0.0, "no request that began while it was in force failed")
    return _stage(fault, since.at_ns, f"the last request that failed began in {since.region}")


def _refilled(refill: CacheRefill) -> Stage:
    return Stage(refill.seconds, refill.says)


def _first(history: History, question: str, values: list[Any], fault: dict[str, Any]) -> Stage | None:
    rows = history.records(f"SELECT at_ns, says FROM ({question}) ORDER BY at_ns LIMIT 1", values)
    return _stage(fault, rows[0]["at_ns"], rows[0]["says"]) if rows else None


def _stage(fault: dict[str, Any], at_ns: int, says: str) -> Stage:
    """What was seen while the fault was still being injected counts as at once."""
    return Stage(max(0.0, (at_ns - fault["injected_ns"]) / _NANOSECONDS), says)


_LEFT = "SELECT at_ns, node, version, node || ' is ' || state AS says FROM directory WHERE at_ns >= ? AND at_ns <= ? AND state <> 'live'"
_LOST_LEASE = "SELECT at_ns, 'the lease of ' || node || ' ended' AS says FROM leases WHERE at_ns >= ? AND at_ns <= ? AND state = 'expired'"
_OWN_LEASE = _LOST_LEASE + " AND node IN (SELECT unnest(?::VARCHAR[]))"
_FAILED_FILL = """
SELECT ended_ns AS at_ns, node || ' got ' || coalesce(error, 'status ' || status) || ' from the ' || tier || ' ' || upstream AS says FROM fills
WHERE ended_ns >= ? AND ended_ns <= ? AND (error IS NOT NULL OR status >= 500)
"""
_FAILED_AT = """
SELECT f.ended_ns AS at_ns, f.node || ' got ' || coalesce(f.error, 'status ' || f.status) || ' from ' || n.node AS says FROM fills f
JOIN nodes n ON n.address = split_part(f.upstream, ':', 1) OR n.address = f.upstream
WHERE f.ended_ns >= ? AND f.ended_ns <= ? AND f.error IS NOT NULL AND n.node IN (SELECT unnest(?::VARCHAR[]))
"""
_OTHER_ORIGIN = """
SELECT min(f.started_ns) AS at_ns, f.node || ' asked the other origin ' || f.upstream AS says FROM fills f, (SELECT ?::BIGINT AS began_ns, ?::BIGINT AS until_ns) w
WHERE f.tier = 'origin' AND f.started_ns BETWEEN began_ns AND until_ns AND EXISTS (
    FROM fills b WHERE b.node = f.node AND b.request_id = f.request_id AND b.tier = 'origin' AND b.upstream <> f.upstream
        AND b.ended_ns BETWEEN began_ns AND f.started_ns AND (b.error IS NOT NULL OR b.status >= 400))
GROUP BY f.node, f.upstream
"""
_STALE = """
SELECT first_byte_ns AS at_ns, node || ' gave what is stale instead' AS says FROM served
WHERE first_byte_ns >= ? AND first_byte_ns <= ? AND reason = 'stale_on_error'
"""
_ROUTED = """
SELECT n.node AS router, min(r.at_ns) AS at_ns FROM nodes n
LEFT JOIN routed r ON r.node = n.node AND r.version >= ? AND r.at_ns >= ? AND r.at_ns <= ? WHERE n.role = 'dns_router' GROUP BY n.node ORDER BY n.node
"""
