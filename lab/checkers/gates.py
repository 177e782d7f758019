"""Gates: figures of a whole run that must be on one side of a number, as in `origin_fetches <= 1200` or `p99(eu-central-1) <= 400 ms`. Pure.

A figure that the history cannot tell, because a witness is missing or not whole or nobody came, makes its gate unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lab.checkers.conditions import Condition, Measure
from lab.checkers.verdict import Check, Outcome
from lab.checkers.witnesses import witnesses_of
from lab.history.reader import History

_LATENCY: Final = "(ended_ns - intended_ns) / 1e9"


@dataclass(frozen=True, slots=True)
class GateFigure:
    """`table` is the witness that it needs; `place` says what may stand in brackets behind its name, `places` which there are."""

    says: str
    table: str
    of: Callable[[History, str], float | None]
    measure: Measure = Measure.COUNT
    place: str = ""
    places: tuple[str, ...] = ()


def judge_gates(history: History, gates: Sequence[Condition]) -> list[Check]:
    """A check for each."""
    return [_judge(history, gate) for gate in gates]


def _judge(history: History, gate: Condition) -> Check:
    figure = GATE_FIGURES[gate.figure]
    if doubts := witnesses_of(history, [figure.table]).doubts:
        return Check(str(gate), Outcome.UNKNOWN, f"{gate}.", doubts)
    value = figure.of(history, gate.place)
    if value is None:
        return Check(str(gate), Outcome.UNKNOWN, f"{gate}.", ("there is nothing that it could be said of",))
    outcome = Outcome.VALID if gate.holds(value) else Outcome.INVALID
    return Check(str(gate), outcome, f"{gate}.", (f"{gate.figure} was {value:.6g}",))


def _one(question: str) -> Callable[[History, str], float | None]:
    """`{place}` in the question is a condition on the region where one is given."""

    def of(history: History, place: str) -> float | None:
        where, given = ("AND region = ?", [place]) if place else ("", [])
        value = history.value(question.replace("{place}", where), given)
        return None if value is None else float(value)

    return of


def _percentile(share: float) -> Callable[[History, str], float | None]:
    return _one(f"SELECT quantile_cont({_LATENCY}, {share}) FROM viewer_requests WHERE error IS NULL {{place}}")


def _hit_ratio(history: History, tier: str) -> float | None:
    question = (
        "SELECT count(*) FILTER (result IN ('hit', 'refresh_hit')) / nullif(count(*), 0) FROM served JOIN nodes USING (node) "
        "WHERE role = ? AND result IN ('hit', 'refresh_hit', 'miss')"
    )
    value = history.value(question, [tier or "edge"])
    return None if value is None else float(value)


def _fills(history: History, tier: str) -> float | None:
    return float(history.value("SELECT count(*) FROM fills WHERE tier = ?", [tier or "origin"]))


GATE_FIGURES: Final[Mapping[str, GateFigure]] = {
    "requests": GateFigure(
        "of viewers", "requests", _one("SELECT count(*) FROM viewer_requests WHERE true {place}"), place="region"
    ),
    "failures": GateFigure(
        "requests of viewers that failed",
        "requests",
        _one("SELECT count(*) FROM viewer_requests WHERE error IS NOT NULL {place}"),
        place="region",
    ),
    "error_ratio": GateFigure(
        "share of viewers' requests that failed",
        "requests",
        _one("SELECT count(error) / nullif(count(*), 0) FROM viewer_requests WHERE true {place}"),
        Measure.SHARE,
        "region",
    ),
    "p50": GateFigure(
        "median of viewers' latency from the intended start", "requests", _percentile(0.5), Measure.TIME, "region"
    ),
    "p95": GateFigure("95th percentile of it", "requests", _percentile(0.95), Measure.TIME, "region"),
    "p99": GateFigure("99th percentile of it", "requests", _percentile(0.99), Measure.TIME, "region"),
    "hit_ratio": GateFigure(
        "of edges, or of a tier, by their own records",
        "served",
        _hit_ratio,
        Measure.SHARE,
        "tier",
        ("edge", "regional"),
    ),
    "fills": GateFigure(
        "requests that caches sent upstream: to `origin` or `regional`",
        "fills",
        _fills,
        Measure.COUNT,
        "tier",
        ("origin", "regional"),
    ),
    "origin_fetches": GateFigure(
        "requests of caches that origins answered",
        "origin_requests",
        _one("SELECT count(*) FROM origin_requests WHERE request_id IS NOT NULL"),
    ),
    "origin_bytes": GateFigure(
        "bodies that origins answered caches with",
        "origin_requests",
        _one("SELECT coalesce(sum(body_bytes), 0) FROM origin_requests WHERE request_id IS NOT NULL"),
        Measure.BYTES,
    ),
    "receipt_seconds": GateFigure(
        "the longest from the issue of an invalidation to its receipt; unknown when one did not come",
        "invalidations",
        _one(
            "SELECT max(completed_ns - issued_ns) / 1e9 FROM invalidations HAVING count(*) = count(completed_ns - issued_ns)"
        ),
        Measure.TIME,
    ),
}
