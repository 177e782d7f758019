"""The promises that the quick start checks, as pure functions from what was observed to an outcome with its evidence.

Valid, invalid or unknown: unknown is said whenever there was too little to see, never taken for valid. Times are moments of
the host's steady clock (proto/moments.py). What happened at a moment that nobody could hold still for is kept between two,
so that a witness, or the lab, that stood still meanwhile (SIGSTOP, a suspended laptop) is late, and never wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.checkers.verdict import Check, Outcome
from lab.history.observations import DnsAnswer, Failure, Outage, Promise, Return, Sighting
from proto.moments import DifferentClocksError

# A response that was on its way when its edge was killed is lost at any CDN; such a failure is excused, and listed.
_KILL_WINDOW_SECONDS = 2.0
# A witness that looks later than this after an answer has seen another moment than the one it judges: it stood still.
LOOK_SECONDS = 1.0
_LISTED = 5
# As long as a viewer of the profiles waits before it tries another address (loadtests/connection.py): nothing in a lab
# without faults of its own takes that long, so whoever waited met a node that hung.
PATIENCE_SECONDS = 10.0


def check_freshness(sightings: Sequence[Sighting], promises: Sequence[Promise]) -> Check:
    statement = "No viewer saw an old version in a request begun after the invalidation's receipt."
    judged = [_judge_promise(promise, [each for each in sightings if each.version is not None]) for promise in promises]
    evidence = [line for each in judged for line in each.evidence]
    evidence += [line for each in judged for line in each.stale][:_LISTED]
    if any(each.stale for each in judged):
        return Check("freshness", Outcome.INVALID, statement, tuple(evidence))
    if any(each.is_unknown for each in judged):
        return Check("freshness", Outcome.UNKNOWN, statement, tuple(evidence))
    if not any(each.probes for each in judged):
        return Check("freshness", Outcome.UNKNOWN, statement, ("no receipt, or no probe after it", *evidence))
    return Check("freshness", Outcome.VALID, statement, tuple(evidence))


@dataclass(frozen=True, slots=True)
class _JudgedPromise:
    probes: int
    """That began after the receipt."""
    stale: tuple[str, ...]
    """A line for each that saw something older than promised."""
    evidence: tuple[str, ...]
    is_unknown: bool = False


def _judge_promise(promise: Promise, sightings: Sequence[Sighting]) -> _JudgedPromise:
    try:
        after = [each for each in sightings if each.began_at.is_after(promise.completed_at)]
    except DifferentClocksError as error:
        return _JudgedPromise(0, (), (f"{promise.invalidation_id}: {_NOT_COMPARABLE}: {error}",), is_unknown=True)
    old = [each for each in after if (each.version or 0) < promise.version]
    nodes = len({each.node for each in after})
    line = f"{len(after):,} probes at {nodes} edges began after the receipt, {len(old)} saw a version before"
    stale = tuple(
        f"{each.node} gave version {each.version} ({each.result}) to a request that began "
        f"{each.began_at.seconds_since(promise.completed_at):.3f} s after the receipt of {promise.invalidation_id}"
        for each in old
    )
    return _JudgedPromise(len(after), stale, (f"{promise.invalidation_id}: {line} {promise.version}",))


_NOT_COMPARABLE = "the receipt and the probes are not of one clock, as when the control plane runs in another machine"


def check_failures(requests: int, failures: Sequence[Failure], outage: Outage | None) -> Check:
    statement = "No viewer saw an error."
    excused: list[Failure] = []
    counted: list[Failure] = []
    unplaced: list[Failure] = []
    for failure in failures:
        try:
            (excused if outage is not None and _is_excused(failure, outage) else counted).append(failure)
        except DifferentClocksError:
            unplaced.append(failure)
    evidence = [f"{requests:,} requests of viewers, {len(counted):,} failures"]
    if excused:
        evidence.append(f"{len(excused)} more were on their way through the edge in the moment of its death")
    if unplaced:
        evidence.append(f"{len(unplaced)} more at the killed edge, by another clock than that of the kill")
    evidence += [str(failure) for failure in [*counted, *unplaced, *excused][:_LISTED]]
    if not requests:
        return Check("failures", Outcome.UNKNOWN, statement, ("no request was made",))
    if counted:
        return Check("failures", Outcome.INVALID, statement, tuple(evidence))
    return Check("failures", Outcome.UNKNOWN if unplaced else Outcome.VALID, statement, tuple(evidence))


def check_patience(totals: Mapping[str, Mapping[str, Any]], standstill_seconds: float = 0.0) -> Check:
    """A viewer who moves on after a silent server was served in the end, and still had every reason to complain. For `standstill_seconds` viewers did nothing
    themselves, as their process stood still: nobody waited for that."""
    statement = f"No viewer had to wait {PATIENCE_SECONDS:g} s or more for one request."
    longest = {region: float(total["latency_ms"].get("max", 0.0)) / 1000 for region, total in totals.items()}
    if not any(longest.values()):
        return Check("patience", Outcome.UNKNOWN, statement, ("no request was made",))
    evidence = ", ".join(f"{region} {seconds:.2f} s" for region, seconds in sorted(longest.items()))
    if max(longest.values()) < PATIENCE_SECONDS:
        return Check("patience", Outcome.VALID, statement, (f"longest: {evidence}",))
    if max(longest.values()) - standstill_seconds < PATIENCE_SECONDS:
        stood_still = f"viewers themselves stood still for {standstill_seconds:.2f} s"
        return Check("patience", Outcome.UNKNOWN, statement, (f"longest: {evidence}", stood_still))
    return Check("patience", Outcome.INVALID, statement, (f"longest: {evidence}",))


def _is_excused(failure: Failure, outage: Outage) -> bool:
    """The request was under way while the edge was killed, or failed soon after. How late the former is written down says nothing: the viewer may have stood still."""
    if failure.address != outage.address or not failure.at.is_after(outage.kill.began_at):
        return False
    is_under_way = not failure.began_at.is_after(outage.kill.ended_at)
    return is_under_way or failure.at.seconds_since(outage.kill.ended_at) <= _KILL_WINDOW_SECONDS


def check_departure(answers: Sequence[DnsAnswer], outage: Outage | None) -> Check:
    """An answer belongs to the time before the kill if it was there before it began, and to the outage if it was asked for after the kill had ended and was there before
    the edge was started again. How late it names the edge is counted from when it was asked for and when the kill had ended: never too much."""
    statement = "The killed edge left DNS answers within its lease."
    if outage is None or outage.started_at is None:
        return Check("departure", Outcome.UNKNOWN, statement, ("no edge was killed and started again",))
    kill, started_at = outage.kill, outage.started_at
    was_named = any(outage.address in each.addresses for each in answers if kill.began_at.is_after(each.answered_at))
    down = [
        each
        for each in answers
        if each.addresses and each.asked_at.is_after(kill.ended_at) and started_at.is_after(each.answered_at)
    ]
    named = [each.asked_at.seconds_since(kill.ended_at) for each in down if outage.address in each.addresses]
    if not was_named or not down:
        return Check(
            "departure", Outcome.UNKNOWN, statement, (f"{outage.node} was not seen in answers before its death",)
        )
    last_named = max(named, default=0.0)
    watched = down[-1].asked_at.seconds_since(kill.ended_at)
    evidence = (
        f"{outage.node} was last named {last_named:.1f} s after its death; the bound is {outage.bound_seconds:.1f} s, "
        f"and resolvers may keep an answer for {outage.ttl_seconds:.0f} s more"
    )
    if last_named > outage.bound_seconds:
        return Check("departure", Outcome.INVALID, statement, (evidence,))
    if watched <= outage.bound_seconds:
        return Check("departure", Outcome.UNKNOWN, statement, (evidence, f"watched for {watched:.1f} s only"))
    return Check("departure", Outcome.VALID, statement, (evidence,))


def check_return(outage: Outage | None, returned: Return | None) -> Check:
    statement = "The restarted edge was named again only after it had caught up with the log."
    if outage is None or outage.started_at is None:
        return Check("return", Outcome.UNKNOWN, statement, ("no edge was started again",))
    if returned is None:
        return Check("return", Outcome.INVALID, statement, (f"{outage.node} did not come back to DNS answers",))
    evidence = (
        f"{outage.node} was named {returned.asked_at.seconds_since(outage.started_at):.1f} s after its start, at index "
        f"{returned.applied_index} of {returned.head_index}"
    )
    looked_seconds = returned.seen_at.seconds_since(returned.asked_at)
    if looked_seconds > LOOK_SECONDS:
        late = f"that was seen {looked_seconds:.1f} s after the router was asked, and says nothing of then"
        return Check("return", Outcome.UNKNOWN, statement, (evidence, late))
    is_behind = returned.applied_index < returned.head_index
    return Check("return", Outcome.INVALID if is_behind else Outcome.VALID, statement, (evidence,))


def check_tiers(totals: Mapping[str, tuple[float, float]]) -> Check:
    statement = "Both tiers answered from their caches."
    evidence = tuple(f"{tier}: {hits:,.0f} hits of {total:,.0f}" for tier, (hits, total) in sorted(totals.items()))
    if not totals:
        return Check("tiers", Outcome.UNKNOWN, statement, ("no metrics",))
    has_hits = all(totals.get(tier, (0.0, 0.0))[0] > 0 for tier in ("edge", "regional"))
    return Check("tiers", Outcome.VALID if has_hits else Outcome.INVALID, statement, evidence)
