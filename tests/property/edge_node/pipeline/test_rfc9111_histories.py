"""Histories through the real pipeline of behaviors that follow the RFCs, each answer judged by tests/oracle_rfc9111.py: nothing is reused that section 4 forbids, what is
plainly reusable is reused, and what a viewer gets was together when the origin said it.
"""

from dataclasses import replace

import pytest

from tests import oracle_rfc9111 as oracle
from tests.builders import policy_message
from tests.conversations.dialogue import Answer, Node
from tests.conversations.tiers import Tiers, strict
from tests.property.edge_node.caching.test_rfc9111_properties import Answer as Said
from tests.property.histories import RETRY_SECONDS, Ask, Exchange, Outcome, Version, Watch, body_of, judged, play

IN_NOT_MODIFIED = (
    "cache-control", "cdn-cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary"
)  # fmt: skip


class StrictWatch(Watch):
    def judge(self, outcome: Outcome) -> None:
        asked = outcome.asked
        if asked.method not in ("GET", "HEAD"):
            assert len(outcome.exchanges) == 1, "a write goes to the origin once"
        else:
            self._judge_read(outcome)

    def _judge_read(self, outcome: Outcome) -> None:
        asked, answer = outcome.asked, outcome.answer
        self._was_asked_in_vain(outcome)
        if outcome.id is None:
            directives = dict(oracle.directives(oracle.value_of(asked.fields, "cache-control")))
            is_wanted = "only-if-cached" in directives and not outcome.exchanges
            assert answer.status in (502, 504) and (is_wanted or any(e.id is None for e in outcome.exchanges)), answer
            return
        assert answer.body == (b"" if asked.method == "HEAD" or answer.status == 204 else body_of(outcome.id))
        versions = [v for v in self.origin.versions[outcome.version] if v.id == outcome.id]
        versions = [v for v in versions if answer.status == v.witness.status and self._shows(answer, v)]
        assert versions, f"fields that were never together: {answer}"
        if outcome.is_first_hand and outcome.is_for_another:
            assert any(not oracle.forbidden(v.witness, asked, outcome.answered_at) for v in versions), "not for all"
            self.stats["shared"] += 1
            return
        if outcome.is_first_hand:
            given = {exchange.version for exchange in outcome.exchanges if exchange.id == outcome.id}
            assert outcome.version in given, "the fields of before the validation"
            self.stats["validated" if not outcome.exchanges[-1].is_whole else "fetched"] += 1
            return
        self._judge_reuse(outcome, versions)

    def _judge_reuse(self, outcome: Outcome, versions: list[Version]) -> None:
        asked, now = outcome.asked, outcome.answered_at
        assert outcome.id not in self.of(outcome.edge, asked.target).invalidated, (
            "used after a write had made it invalid"
        )
        is_disconnected = now - self.failed_at.get(asked.target, 0.0) < RETRY_SECONDS + 0.001
        moments = {now, now - self.tolerance_seconds}
        broken = [
            found
            for version in versions
            for moment in moments
            if (found := self._objections(version.witness, asked, moment, is_disconnected=is_disconnected)) is not None
        ]
        assert len(broken) < len(versions) * len(moments), f"{outcome}: {broken}"
        is_fresh = any(oracle.is_fresh(version.witness, now) for version in versions)
        self.stats["reused fresh" if is_fresh else "reused stale"] += 1

    @staticmethod
    def _objections(
        witness: oracle.Stored, asked: oracle.Request, now: float, *, is_disconnected: bool
    ) -> list[str] | None:
        found = oracle.forbidden(witness, asked, now)
        if not found and not oracle.unwanted(witness, asked, now):
            return None
        if is_disconnected:
            return oracle.forbidden(witness, asked, now, is_disconnected=True) or None
        return found or oracle.unwanted(witness, asked, now)

    @staticmethod
    def _shows(answer: Answer, version: Version) -> bool:
        """The answer has the fields of this version, of those that a confirmation brings; all of them, if there was none."""
        names = {name.lower() for name, _ in version.witness.fields} - {"age"}
        shown = {name: oracle.value_of(version.witness.fields, name) for name in names}
        if version.is_confirmed:
            shown = {name: value for name, value in shown.items() if name in IN_NOT_MODIFIED}
        return all(answer.fields.get(name) == value for name, value in shown.items())

    def _was_asked_in_vain(self, outcome: Outcome) -> None:
        """What is fresh beyond doubt is reused, if it is the most recent that there is."""
        there = self.of(outcome.edge, outcome.asked.target)
        latest = there.latest
        if latest is None or not oracle.plainly_reusable(latest, outcome.asked, outcome.began_at):
            return
        rivals = [w for w in there.seen if w is not latest and oracle.selects(w, outcome.asked)]
        if all(self._recency(w) < self._recency(latest) for w in rivals):
            assert not outcome.exchanges, f"asked for what may be used: {latest}"
            self.stats["plainly reusable"] += 1

    @staticmethod
    def _recency(witness: oracle.Stored) -> tuple[bool, float]:
        made = oracle.date(oracle.value_of(witness.fields, "date"), witness.response_time)
        return bool(oracle.values(witness.fields, "vary")), witness.response_time if made is None else made

    def note(self, edge: int, exchange: Exchange) -> None:
        asked = exchange.asked
        there = self.of(edge, asked.target)
        if exchange.id is None:
            return
        if asked.method not in ("GET", "HEAD"):
            if 200 <= exchange.status <= 399:
                there.invalidated |= {v.id for versions in self.origin.versions.values() for v in versions}
                there.latest, there.seen = None, []
            return
        there.invalidated.discard(exchange.id)
        if asked.method == "HEAD":
            there.latest = None  # it may have updated or outdated what is stored
            return
        versions = self.origin.versions[exchange.version]
        there.latest = (
            versions[-1].witness if exchange.is_whole or oracle.values(asked.fields, "authorization") == [] else None
        )
        there.seen.append(versions[-1].witness)


def one_edge() -> StrictWatch:
    node = Node(strict(policy_message(maximum_ttl_seconds=31_536_000)))
    return StrictWatch([node], node, 0.0)


def two_tiers() -> StrictWatch:
    tiers = Tiers(strict(policy_message(maximum_ttl_seconds=31_536_000)), edges=2)
    return StrictWatch(tiers.edges, tiers.regional, 1.0)


PLAIN = oracle.Request("GET", "/a")
OTHER = oracle.Request("GET", "/a", (("x-a", "1"),))
LATE = oracle.Request("GET", "/a", (("cache-control", "max-stale"),))
SAID = Said(200, (("cache-control", "max-age=10"), ("date", 0), ("etag", '"1"')), 0.0, "whole")
STORED = Ask(0, PLAIN, SAID)
WAYS: dict[str, list[Ask | float]] = {
    "fetched": [STORED],
    "validated": [STORED, 30.0, Ask(0, PLAIN, replace(SAID, kind="not modified"))],
    "reused fresh": [STORED, 4.0, STORED],
    "plainly reusable": [STORED, 4.0, STORED],
    "reused stale": [STORED, 30.0, Ask(0, LATE, SAID)],
    "shared": [Ask(0, OTHER, SAID, also=PLAIN)],
}
"""One history for each: which of them random histories come to is luck."""
NETWORKS = {"an edge": one_edge, "two edges behind a regional cache": two_tiers}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_an_answer_is_one_that_the_rfc_allows(network: str, way: str) -> None:
    assert way in play(NETWORKS[network], WAYS[way])


def test_no_history_makes_an_edge_reuse_what_the_rfc_forbids_or_ask_for_what_is_plainly_fresh() -> None:
    assert set(judged(one_edge, 120)) <= set(WAYS)


def test_the_same_holds_for_two_edges_behind_a_regional_cache() -> None:
    assert set(judged(two_tiers, 100)) <= set(WAYS)
