"""The promises that the quick start checks, as pure functions from what was observed to an outcome with its evidence.

Valid, invalid or unknown: unknown is said whenever there was too little to see, never taken for valid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# A response that was on its way when its edge was killed is lost at any CDN; such a failure is excused, and listed.
_KILL_WINDOW_SECONDS = 2.0
_LISTED = 5
# As long as a viewer of the profiles waits before it tries another address (loadtests/connection.py): nothing in a lab
# without faults of its own takes that long, so whoever waited met a node that hung.
PATIENCE_SECONDS = 10.0


class Outcome(StrEnum):
    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    outcome: Outcome
    statement: str
    evidence: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "outcome": str(self.outcome),
            "statement": self.statement,
            "evidence": list(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class Sighting:
    """One probe of the watched object at one edge; `version` is None when there was no answer to judge."""

    node: str
    began_at: float
    version: int | None
    result: str


@dataclass(frozen=True, slots=True)
class Promise:
    """From `completed_at` on, nobody may see a version older than `version`."""

    invalidation_id: str
    version: int
    completed_at: float


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What the router told the region of the killed edge; no addresses when it did not answer."""

    time: float
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outage:
    """The edge that was killed, how long the router may still name it, and how long resolvers keep what it said."""

    node: str
    address: str
    killed_at: float
    started_at: float
    bound_seconds: float
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class Return:
    """Where the restarted edge and the log stood when the router first named it again."""

    time: float
    applied_index: int
    head_index: int


def verdict(checks: Sequence[Check]) -> Outcome:
    outcomes = {check.outcome for check in checks}
    if Outcome.INVALID in outcomes:
        return Outcome.INVALID
    return Outcome.UNKNOWN if Outcome.UNKNOWN in outcomes or not checks else Outcome.VALID


def check_freshness(sightings: Sequence[Sighting], promises: Sequence[Promise]) -> Check:
    statement = "No viewer saw an old version in a request begun after the invalidation's receipt."
    judged, evidence, stale = 0, [], []
    for promise in promises:
        after = [each for each in sightings if each.version is not None and each.began_at > promise.completed_at]
        old = [each for each in after if each.version is not None and each.version < promise.version]
        judged += len(after)
        stale += old
        evidence.append(
            f"{promise.invalidation_id}: {len(after):,} probes at {len({each.node for each in after})} edges began after "
            f"the receipt, {len(old)} saw a version before {promise.version}"
        )
    evidence += [
        f"{each.node} gave version {each.version} ({each.result}) at {each.began_at:.3f}" for each in stale[:_LISTED]
    ]
    if not judged:
        return Check("freshness", Outcome.UNKNOWN, statement, ("no receipt, or no probe after it", *evidence))
    return Check("freshness", Outcome.INVALID if stale else Outcome.VALID, statement, tuple(evidence))


def check_failures(requests: int, failures: Sequence[Mapping[str, Any]], outage: Outage | None) -> Check:
    statement = "No viewer saw an error."
    excused = [failure for failure in failures if outage is not None and _is_excused(failure, outage)]
    counted = len(failures) - len(excused)
    evidence = [f"{requests:,} requests of viewers, {counted:,} failures"]
    if excused:
        evidence.append(f"{len(excused)} more were on their way through the edge in the moment of its death")
    shown = [*(failure for failure in failures if failure not in excused), *excused][:_LISTED]
    evidence += [f"{failure.get('region')} {failure.get('url')}: {failure.get('error')}" for failure in shown]
    if not requests:
        return Check("failures", Outcome.UNKNOWN, statement, ("no request was made",))
    return Check("failures", Outcome.INVALID if counted else Outcome.VALID, statement, tuple(evidence))


def check_patience(totals: Mapping[str, Mapping[str, Any]]) -> Check:
    """A viewer who moves on after a silent server was served in the end, and still had every reason to complain."""
    statement = f"No viewer had to wait {PATIENCE_SECONDS:g} s or more for one request."
    longest = {region: float(total["latency_ms"].get("max", 0.0)) / 1000 for region, total in totals.items()}
    if not any(longest.values()):
        return Check("patience", Outcome.UNKNOWN, statement, ("no request was made",))
    evidence = ", ".join(f"{region} {seconds:.2f} s" for region, seconds in sorted(longest.items()))
    is_broken = max(longest.values()) >= PATIENCE_SECONDS
    return Check("patience", Outcome.INVALID if is_broken else Outcome.VALID, statement, (f"longest: {evidence}",))


def _is_excused(failure: Mapping[str, Any], outage: Outage) -> bool:
    after_kill = float(failure["time"]) - outage.killed_at
    return failure.get("address") == outage.address and -0.5 <= after_kill <= _KILL_WINDOW_SECONDS


def check_departure(answers: Sequence[DnsAnswer], outage: Outage | None) -> Check:
    statement = "The killed edge left DNS answers within its lease."
    if outage is None:
        return Check("departure", Outcome.UNKNOWN, statement, ("no edge was killed",))
    was_named = any(outage.address in each.addresses for each in answers if each.time < outage.killed_at)
    down = [each for each in answers if outage.killed_at <= each.time < outage.started_at and each.addresses]
    named = [each.time for each in down if outage.address in each.addresses]
    if not was_named or not down:
        return Check(
            "departure", Outcome.UNKNOWN, statement, (f"{outage.node} was not seen in answers before its death",)
        )
    last_named = max(named, default=outage.killed_at) - outage.killed_at
    watched = down[-1].time - outage.killed_at
    evidence = (
        f"{outage.node} was last named {last_named:.1f} s after its death; the bound is {outage.bound_seconds:.1f} s, "
        f"and resolvers may keep an answer for {outage.ttl_seconds:.0f} s more"
    )
    if watched <= outage.bound_seconds:
        return Check("departure", Outcome.UNKNOWN, statement, (evidence, f"watched for {watched:.1f} s only"))
    is_late = last_named > outage.bound_seconds
    return Check("departure", Outcome.INVALID if is_late else Outcome.VALID, statement, (evidence,))


def check_return(outage: Outage | None, returned: Return | None) -> Check:
    statement = "The restarted edge was named again only after it had caught up with the log."
    if outage is None or not outage.started_at:
        return Check("return", Outcome.UNKNOWN, statement, ("no edge was started again",))
    if returned is None:
        return Check("return", Outcome.INVALID, statement, (f"{outage.node} did not come back to DNS answers",))
    evidence = (
        f"{outage.node} was named {returned.time - outage.started_at:.1f} s after its start, at index "
        f"{returned.applied_index} of {returned.head_index}"
    )
    is_behind = returned.applied_index < returned.head_index
    return Check("return", Outcome.INVALID if is_behind else Outcome.VALID, statement, (evidence,))


def check_tiers(totals: Mapping[str, tuple[float, float]]) -> Check:
    statement = "Both tiers answered from their caches."
    evidence = tuple(f"{tier}: {hits:,.0f} hits of {total:,.0f}" for tier, (hits, total) in sorted(totals.items()))
    if not totals:
        return Check("tiers", Outcome.UNKNOWN, statement, ("no metrics",))
    has_hits = all(totals.get(tier, (0.0, 0.0))[0] > 0 for tier in ("edge", "regional"))
    return Check("tiers", Outcome.VALID if has_hits else Outcome.INVALID, statement, evidence)
