"""Checkers against a toy CDN: what is right is never called invalid, each planted bug is found, and a missing witness is never taken for a good one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import pytest

from lab.checkers.catalogue import CHECKERS, Choice, choose, judge
from lab.checkers.judgement import LISTED
from lab.checkers.verdict import Check, Outcome
from lab.history.reader import History, history_of
from tests.unit.lab.checkers.toy_cdn import history_rows
from tests.unit.lab.checkers.toy_time import BUGS

SEEDS = 3
WANTED = {name: {} for name in CHECKERS} | {
    "latency": {"p99_ms": 1000, "longest_ms": 1900},
    "hit_ratio": {"at_least": 0.2},
    # What the origin's fault has left in fills under way reaches viewers a moment after it was healed.
    "availability": {"outside_of_faults": True, "settle_seconds": 1},
    "errors": {"outside_of_faults": True, "settle_seconds": "1s"},
    "statuses": {"allowed": ["200", "206", "304"], "outside_of_faults": True, "settle_seconds": 1},
    "recovery": {"after": "heal", "within_seconds": 1},
}
CATCHES = {
    "deaf_to_invalidations": ("freshness_after_receipts", "versions_after_receipts"),
    "lies_about_time": ("versions_after_receipts",),
    "beyond_ttl": ("staleness",),
    "shares_private": ("privacy",),
    "keeps_private": ("privacy",),
    "tears": ("bodies",),
    "mixes": ("bodies", "tiers_agree"),
    "corrupts": ("bodies", "tiers_agree"),
    "invents_version": ("bodies",),
    "goes_back": ("configuration_monotonic",),
    "forgets_acknowledged": ("configuration_monotonic",),
    "routers_disagree": ("configuration_monotonic",),
    "fetches_twice": ("collapse",),
    "names_the_dead": ("departure",),
    "returns_too_early": ("return",),
    "fails": ("availability", "errors", "recovery", "statuses"),
    "never_well": ("availability", "recovery"),
    "slow": ("latency",),
    "forgets_object": ("durability",),
    "forgets_invalidation": ("durability",),
    "reuses_index": ("durability",),
    "never_keeps": ("hit_ratio", "tiers_serve"),
}


def choices(*names: str) -> tuple[Choice, ...]:
    chosen, problems = choose({name: WANTED[name] for name in names or WANTED})
    assert not problems
    return chosen


@contextmanager
def run_of(seed: int, bug: str | None = None) -> Iterator[History]:
    history = history_of(history_rows(seed, bug))
    yield history
    history.close()


@lru_cache(maxsize=1)
def right() -> History:
    """One run without a bug, for all who only look."""
    return history_of(history_rows(100))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_right_is_valid(seed: int) -> None:
    with run_of(seed) as history:
        checks = judge(history, choices())
    assert {check.name: (check.outcome, check.evidence) for check in checks if check.outcome is not Outcome.VALID} == {}


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_what_is_right_is_valid_with_many_seeds(seed: int) -> None:
    test_what_is_right_is_valid(seed)


def test_every_bug_has_a_checker_and_every_checker_a_bug() -> None:
    assert set(CATCHES) == set(BUGS)
    assert {name for names in CATCHES.values() for name in names} == set(CHECKERS)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    missed = set(CATCHES[bug])
    for seed in range(SEEDS):
        with run_of(seed, bug) as history:
            missed -= {each.name for each in judge(history, choices(*missed)) if each.outcome is Outcome.INVALID}
        if not missed:
            return
    pytest.fail(f"{bug} is not seen by {missed} in {SEEDS} seeds")


def outcomes_without(change: str, *missing: str, of: tuple[str, ...] = ()) -> dict[str, Check]:
    """What these checkers, or all, say after a change of the right history, which is taken back."""
    history = right()
    history.connection.execute("BEGIN TRANSACTION")
    try:
        history.connection.execute(change)
        return {check.name: check for check in judge(History(history.connection, frozenset(missing)), choices(*of))}
    finally:
        history.connection.execute("ROLLBACK")


@pytest.mark.parametrize("table", sorted({table for checker in CHECKERS.values() for table in checker.witnesses}))
def test_a_table_that_nobody_wrote_makes_its_checkers_unknown(table: str) -> None:
    needed = tuple(name for name, checker in CHECKERS.items() if table in checker.witnesses)
    checks = outcomes_without(f"DELETE FROM {table}", table, of=needed)
    assert {name: check.outcome for name, check in checks.items()} == dict.fromkeys(needed, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DELETE FROM lives", "nobody said when it ran"),
        ("UPDATE lives SET dropped_rows = 3", "dropped"),
        ("UPDATE lives SET dropped_rows = NULL", "does not say whether it dropped"),
        ("UPDATE lives SET boot_id = ''", "unknown boots"),
        ("UPDATE lives SET boot_id = node", "different or unknown boots"),
    ],
)
def test_witnesses_that_are_not_whole_or_of_one_clock_make_everything_unknown(change: str, says: str) -> None:
    checks = outcomes_without(change)
    # Of `load` alone one clock is enough.
    alone = (
        {name for name, each in CHECKERS.items() if each.witnesses == ("requests",)}
        if "boot_id = node" in change
        else set()
    )
    for name in set(checks) - alone:
        assert checks[name].outcome is Outcome.UNKNOWN, name
        assert says in " ".join(checks[name].evidence)


def test_one_node_that_wrote_nothing_is_enough() -> None:
    names = ("collapse", "staleness", "configuration_monotonic", "tiers_serve")
    for check in outcomes_without("DELETE FROM lives WHERE node = 'eu-edge-0'", of=names).values():
        assert check.outcome is Outcome.UNKNOWN
        assert "eu-edge-0 wrote nothing down" in check.evidence


def test_a_load_generator_that_was_killed_says_nothing_of_what_viewers_would_have_seen() -> None:
    checks = outcomes_without("UPDATE lives SET is_ended = false WHERE node = 'load'")
    needing = {name for name, each in CHECKERS.items() if "requests" in each.witnesses}
    assert {name for name, check in checks.items() if check.outcome is Outcome.UNKNOWN} >= needing
    assert "did not come to its end" in " ".join(checks["errors"].evidence)


def test_a_node_that_answers_after_it_was_last_heard_of_is_no_witness() -> None:
    change = "UPDATE lives SET last_ns = last_ns - 20000000000 WHERE node = 'us-edge-0'"
    checks = outcomes_without(change, of=("collapse",))
    assert checks["collapse"].outcome is Outcome.UNKNOWN
    assert any("us-edge-0 answered viewers" in line for line in checks["collapse"].evidence)


@pytest.mark.parametrize(
    ("whose", "outcome"), [("load", Outcome.INVALID), ("origin-1", Outcome.UNKNOWN)], ids=["accuser", "excuse"]
)
def test_only_who_might_excuse_it_makes_what_is_wrong_unknown(whose: str, outcome: Outcome) -> None:
    rows = history_rows(0, "tears")
    for life in rows["lives"]:
        life["dropped_rows"] = int(life["node"] == whose)
    history = history_of(rows)
    (check,) = judge(history, choices("bodies"))
    history.close()
    assert check.outcome is outcome
    assert check.found


@pytest.mark.parametrize("bug", ["deaf_to_invalidations", "fetches_twice", "names_the_dead", "fails"])
def test_evidence_has_the_way_of_its_request(bug: str) -> None:
    with run_of(1, bug) as history:
        checks = judge(history, choices(*CATCHES[bug]))
    for check in checks:
        assert check.outcome is Outcome.INVALID
        assert 0 < len(check.findings) <= LISTED
        assert check.found >= len(check.findings)
        ways = [each.path for each in check.findings if each.id is not None]
        for way in ways:
            assert way is not None
            assert way.sentences[0].startswith("A viewer in ")
            assert {"request", "served", "fills", "origin", "made_by", "invalidations", "faults"} == set(way.facts)
        assert json.loads(json.dumps(check.to_json()))["found"] == check.found
    stale = next((check for check in checks if check.name == "freshness_after_receipts"), None)
    if stale is not None:
        assert stale.findings[0].path is not None
        told = "\n".join(stale.findings[0].path.sentences)
        for word in ("The router had named", "answered at", "The viewer got 200", "Invalidation I"):
            assert word in told
