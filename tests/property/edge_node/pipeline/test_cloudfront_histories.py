"""The histories of test_rfc9111_histories.py through behaviors in CloudFront's semantics, each answer judged by the tables of reference 2.2 to 2.5."""

from dataclasses import dataclass, field, replace
from typing import Literal

import pytest

from tests import oracle_rfc9111 as oracle
from tests.builders import behavior_message, policy_message
from tests.conversations.dialogue import Node
from tests.conversations.tiers import ALL_METHODS
from tests.property.edge_node.caching.test_rfc9111_properties import Answer
from tests.property.histories import RETRY_SECONDS, Ask, Exchange, Outcome, Watch, body_of, judged, play


@dataclass(frozen=True)
class Lifetimes:
    """Of a cache policy, seconds."""

    minimum: int
    default: int
    maximum: int


@dataclass
class TableWatch(Watch):
    """Reference 2.2 to 2.5: what a viewer says about caching does not matter, nor does Vary or Authorization, and a write makes nothing invalid."""

    lifetimes: Lifetimes = field(default_factory=lambda: Lifetimes(0, 86_400, 31_536_000))

    def judge(self, outcome: Outcome) -> None:
        asked, exchanges = outcome.asked, outcome.exchanges
        if asked.method not in ("GET", "HEAD"):
            assert len(exchanges) == 1
        elif outcome.id is None:
            failed = now_or_lately = any(exchange.id is None for exchange in exchanges)
            now_or_lately |= outcome.answered_at - self.failed_at.get(asked.target, 0.0) < RETRY_SECONDS + 0.001
            assert outcome.answer.status in (502, 504) and (failed or now_or_lately), outcome
        else:
            self._judge_body(outcome)

    def _judge_body(self, outcome: Outcome) -> None:
        asked, answer = outcome.asked, outcome.answer
        assert outcome.id is not None
        assert answer.body == (b"" if asked.method == "HEAD" or answer.status == 204 else body_of(outcome.id))
        latest = self.of(outcome.edge, asked.target).latest
        if latest is not None and self._age(latest, outcome.began_at) < (self.ttl(latest) or 0.0):
            assert not outcome.exchanges, f"asked for what is fresh: {latest}"
            self.stats["fresh"] += 1
        elif not outcome.is_first_hand:
            assert latest is not None and outcome.id == int(oracle.value_of(latest.fields, "x-id") or 0), outcome
            assert self._may_be_stale(latest, asked.target, outcome.answered_at), outcome
            self.stats["stale"] += 1
        else:
            self.stats["fetched" if outcome.exchanges[-1].is_whole else "validated"] += 1

    def note(self, edge: int, exchange: Exchange) -> None:
        """The last storable response stays until another one takes its place."""
        asked = exchange.asked
        if exchange.id is None or asked.method != "GET":
            return
        witness = self.origin.versions[exchange.version][-1].witness
        there = self.of(edge, asked.target)
        if (
            exchange.status >= 500
            and there.latest is not None
            and self._may_be_stale(there.latest, asked.target, self.now)
        ):
            return  # the stale copy stands in for it, and stays
        if self.ttl(witness) is not None:
            there.latest = witness
        elif not exchange.is_whole:
            there.latest = None  # confirmed, and not to be kept

    @staticmethod
    def _age(witness: oracle.Stored, now: float) -> float:
        """Reference 2.2: the time since it was stored; what a cache behind the origin says of its age comes on top."""
        said = oracle.value_of(witness.fields, "age")
        if said is None:
            return now - witness.response_time
        first = said.split(",")[0].strip()
        return min(float(first) if first.isdigit() else 0.0, 2.0**40) + now - witness.request_time

    def ttl(self, witness: oracle.Stored) -> float | None:
        """Seconds; None: not stored at all."""
        policy, status, limits = self._policy(witness), witness.status, self.lifetimes
        said = self._said(witness, policy)
        forbids = policy.has("no-store") or policy.is_unqualified("private") or policy.is_unqualified("no-cache")
        if status >= 400:
            has_age = policy.seconds("max-age") is not None or policy.seconds("s-maxage") is not None
            if status in (404, 410, 414, 501) and forbids:
                return None
            if status in (404, 414, 500, 501, 502, 503, 504) or (status in (400, 403, 405, 410, 412, 415) and has_age):
                return max(min(said or 0.0, limits.maximum), 10.0)
            return None
        is_redirect_that_says_so = status in (307, 308) and oracle.values(witness.fields, "cache-control") != []
        if status not in (200, 203, 300, 301, 302, 303) and not is_redirect_that_says_so:
            return None
        if limits.minimum == 0 and "*" in [
            name.strip() for name in (oracle.value_of(witness.fields, "vary") or "").split(",")
        ]:
            return None
        if forbids:
            is_kept_to_validate = not policy.has("no-store") and not policy.is_unqualified("private")
            return limits.minimum or (0.0 if is_kept_to_validate else None)
        if said is None:
            return max(limits.minimum, limits.default)
        return min(max(said, limits.minimum), limits.maximum)

    def _may_be_stale(self, witness: oracle.Stored, target: str, now: float) -> bool:
        """Reference 2.3, 2.4: inside a window of the response, or in place of a failure of less than ten seconds ago."""
        policy, lifetime = self._policy(witness), self.ttl(witness) or 0.0
        staleness = self._age(witness, now) - lifetime
        if policy.is_unqualified("no-cache") and not self.lifetimes.minimum:
            return False
        if policy.has("must-revalidate") or policy.has("proxy-revalidate") or witness.status >= 400:
            return False
        if staleness < min(policy.seconds("stale-while-revalidate") or 0.0, self.lifetimes.maximum):
            return True
        said = policy.seconds("stale-if-error")
        window = self.lifetimes.maximum if said is None else min(said, self.lifetimes.maximum)
        return now - self.failed_at.get(target, 0.0) < RETRY_SECONDS + 0.001 and staleness < window

    @staticmethod
    def _policy(witness: oracle.Stored) -> oracle.Policy:
        """CDN-Cache-Control means nothing here."""
        fields = tuple(pair for pair in witness.fields if pair[0].lower() != "cdn-cache-control")
        return oracle.policy_of(replace(witness, fields=fields))

    @staticmethod
    def _said(witness: oracle.Stored, policy: oracle.Policy) -> float | None:
        for name in ("s-maxage", "max-age"):
            seconds = policy.seconds(name)
            if seconds is not None:
                return seconds
        expires = oracle.value_of(witness.fields, "expires")
        if expires is None:
            return None
        moment = oracle.date(expires, witness.response_time)
        made = oracle.date(oracle.value_of(witness.fields, "date"), witness.response_time)
        return 0.0 if moment is None else max(0.0, moment - (witness.response_time if made is None else made))


def by_table(minimum: int) -> TableWatch:
    policy = policy_message(minimum_ttl_seconds=minimum)
    node = Node(behavior_message(policy=policy, allowed_methods=ALL_METHODS))
    return TableWatch([node], node, 0.0, lifetimes=Lifetimes(minimum, 86_400, 31_536_000))


WAYS = {"fetched", "validated", "fresh", "stale"}


def asks(kind: Literal["whole", "not modified", "lost"]) -> Ask:
    fields = (("cache-control", "max-age=1"), ("etag", '"1"'))
    return Ask(0, oracle.Request("GET", "/a"), Answer(200, fields, 0.0, kind))


EACH_WAY: list[Ask | float] = [asks("whole"), asks("whole"), 100.0, asks("not modified"), 100.0, asks("lost")]
"""Rare among random histories, and so no matter of luck."""


def test_an_open_quote_makes_a_list_of_fields_no_list() -> None:
    """Found among random histories: an error that is private to one viewer is not kept, whatever stands behind its list."""
    fields = (("cache-control", 'private="X-A, X-B", ext="'),)
    error = Ask(0, oracle.Request("GET", "/a"), Answer(501, fields, 0.0, "whole"))
    assert set(play(lambda: by_table(20), [error, error])) == {"fetched"}


@pytest.mark.parametrize(("minimum", "count"), [(0, 100), (20, 50)])
def test_the_same_histories_follow_cloudfronts_table_in_its_semantics(minimum: int, count: int) -> None:
    assert set(play(lambda: by_table(minimum), EACH_WAY)) == WAYS
    assert set(judged(lambda: by_table(minimum), count)) <= WAYS
