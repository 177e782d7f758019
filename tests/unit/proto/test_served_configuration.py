"""Which version of each resource is served (DESIGN section 3): refusals, references, entries that hold or fail as a whole, and what is tried again."""

import time
from collections.abc import Sequence

import pytest
from google.protobuf.message import Message

from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from proto.resources import (
    ResourceName,
    cache_policy_name,
    changed_name,
    checksum_of,
    distribution_name,
    put_change,
    total_checksum,
)
from proto.served_configuration import (
    Configuration,
    Kind,
    Kinds,
    UnusableResourceError,
    Values,
    changed_names,
    from_kept,
    from_snapshot,
    kept_resource,
    with_entry,
)
from tests.builders import resource_message

BAD = 13
"""A policy with this TTL, or a distribution with this many aliases, is unusable."""


def _read_policy(message: Message, _: Values) -> object:
    assert isinstance(message, configuration_pb2.CachePolicy)
    if message.default_ttl_seconds == BAD:
        raise UnusableResourceError(f"policy {message.id} is bad")
    return message.default_ttl_seconds


def _read_distribution(message: Message, references: Values) -> object:
    assert isinstance(message, configuration_pb2.Distribution)
    name = cache_policy_name(message.default_behavior.cache_policy_id)
    if len(message.aliases) == BAD:
        raise UnusableResourceError(f"distribution {message.id} is bad")
    if name not in references:
        raise UnusableResourceError(f"there is no policy {name.identifier}")
    return message.id, len(message.aliases), references[name]


def _references(message: Message) -> Sequence[ResourceName]:
    assert isinstance(message, configuration_pb2.Distribution)
    return [cache_policy_name(message.default_behavior.cache_policy_id)]


KINDS: Kinds = {
    sync_pb2.RESOURCE_KIND_CACHE_POLICY: Kind(configuration_pb2.CachePolicy, _read_policy, is_seen_by_itself=False),
    sync_pb2.RESOURCE_KIND_DISTRIBUTION: Kind(configuration_pb2.Distribution, _read_distribution, _references),
}

D1, D2, P1 = distribution_name("D1"), distribution_name("D2"), cache_policy_name("P1")


def policy(identifier: str, ttl: int) -> configuration_pb2.CachePolicy:
    return configuration_pb2.CachePolicy(id=identifier, default_ttl_seconds=ttl)


def distribution(identifier: str, version: int, policy_id: str = "P1") -> configuration_pb2.Distribution:
    behavior = configuration_pb2.Behavior(cache_policy_id=policy_id)
    return configuration_pb2.Distribution(id=identifier, aliases=["a"] * version, default_behavior=behavior)


def entry(index: int, *bodies: Message, deleted: Sequence[ResourceName] = ()) -> sync_pb2.Entry:
    made = sync_pb2.Entry(log_id="log", index=index, digest=b"%d" % index)
    for body in bodies:
        made.changes.append(put_change(resource_message(body, index)))
    for name in deleted:
        made.changes.add().delete.MergeFrom(
            sync_pb2.ResourceName(kind=sync_pb2.ResourceKind.ValueType(name.kind), id=name.identifier)
        )
    return made


def after(configuration: Configuration, *entries: sync_pb2.Entry) -> Configuration:
    for each in entries:
        configuration = with_entry(configuration, each, KINDS)
    return configuration


def restarted(configuration: Configuration) -> Configuration:
    names = configuration.served.keys() | configuration.rejected.keys()
    kept = [kept_resource(configuration, name) for name in names]
    return from_kept(configuration.position, kept, KINDS)


def values(configuration: Configuration) -> dict[str, object]:
    return {name.identifier: served.value for name, served in configuration.served.items()}


def reasons(configuration: Configuration) -> dict[str, tuple[int, str]]:
    return {
        name.identifier: (refused.rejection.index, refused.rejection.reason)
        for name, refused in configuration.rejected.items()
    }


BEGINNING = after(Configuration(LogPosition("log")), entry(1, policy("P1", 5), distribution("D1", 1)))


def test_a_policy_that_changes_changes_all_that_refer_to_it() -> None:
    changed = after(BEGINNING, entry(2, distribution("D2", 2)), entry(3, policy("P1", 6)))
    assert values(changed) == {"P1": 6, "D1": ("D1", 1, 6), "D2": ("D2", 2, 6)} and not changed.rejected
    assert changed.position == LogPosition("log", 3, b"3")


def test_what_does_not_change_is_not_read_again() -> None:
    changed = after(BEGINNING, entry(2, distribution("D2", 2)))
    assert changed.served[D1] is BEGINNING.served[D1] and changed.served[P1] is BEGINNING.served[P1]
    assert changed_names(BEGINNING, changed) == {D2}


def test_what_came_in_one_entry_fails_as_a_whole_and_holds_when_it_is_mended() -> None:
    refused = after(BEGINNING, entry(2, policy("P2", BAD), distribution("D1", 2), distribution("D2", 1, "P2")))
    assert values(refused) == values(BEGINNING)
    assert reasons(refused) == {
        "P2": (2, "policy P2 is bad"),
        "D1": (2, "came with cache_policy P2, which is refused: policy P2 is bad"),
        "D2": (2, "came with cache_policy P2, which is refused: policy P2 is bad"),
    }
    mended = after(refused, entry(3, policy("P2", 7)))
    assert values(mended) == {"P1": 5, "P2": 7, "D1": ("D1", 2, 5), "D2": ("D2", 1, 7)} and not mended.rejected


def test_a_new_policy_holds_although_the_distribution_that_it_came_with_does_not() -> None:
    """Others may refer to it: one bad distribution never blocks the others."""
    refused = after(
        BEGINNING, entry(2, policy("P2", 7), distribution("D2", BAD, "P2")), entry(3, distribution("D3", 1, "P2"))
    )
    assert values(refused) == {"P1": 5, "P2": 7, "D1": ("D1", 1, 5), "D3": ("D3", 1, 7)}
    assert reasons(refused) == {"D2": (2, "distribution D2 is bad")}
    changed = after(refused, entry(4, policy("P2", 8), distribution("D4", BAD)))
    assert values(changed) == values(refused) and changed.rejected.keys() >= {cache_policy_name("P2")}, (
        "not another version"
    )


def test_a_newer_version_of_one_of_them_leaves_the_others_refused() -> None:
    refused = after(
        BEGINNING, entry(2, distribution("D1", BAD), distribution("D2", 1)), entry(3, distribution("D2", 2))
    )
    assert values(refused) == {"P1": 5, "D1": ("D1", 1, 5), "D2": ("D2", 2, 5)}
    assert reasons(refused) == {"D1": (2, "distribution D1 is bad")}


def test_a_change_that_something_served_cannot_live_with_is_refused_for_its_sake() -> None:
    refused = after(BEGINNING, entry(2, deleted=[P1]), entry(3, distribution("D2", 1)))
    assert values(refused) == {"P1": 5, "D1": ("D1", 1, 5), "D2": ("D2", 1, 5)}
    assert reasons(refused) == {"P1": (2, "distribution D1 cannot be served with it: there is no policy P1")}
    let_go = after(refused, entry(4, distribution("D1", 1, "P2"), policy("P2", 6), deleted=[D2]))
    assert values(let_go) == {"P2": 6, "D1": ("D1", 1, 6)} and not let_go.rejected, "nobody needs it any more"


def test_the_last_good_version_keeps_its_policy_although_the_log_lets_go_of_it() -> None:
    """However often the distribution changes in vain, and whoever else uses the policy and ends with it."""
    moved = after(BEGINNING, entry(2, policy("P2", 5), distribution("D1", BAD, "P2"), deleted=[P1]))
    served = {"P1": 5, "P2": 5, "D1": ("D1", 1, 5)}
    assert values(moved) == served and moved.rejected.keys() == {D1, P1}
    again = after(moved, entry(3, distribution("D1", BAD, "P2")))
    assert values(again) == served == values(restarted(again))
    let_go = after(moved, entry(3, policy("P1", 5), distribution("D2", 1)), entry(4, deleted=[D2, P1]))
    assert values(let_go) == served and let_go.rejected.keys() == {D1, P1}, "and D2 ends all the same"
    anew = snapshot(9, (2, policy("P2", 5)), (9, distribution("D1", BAD, "P2")))
    told = from_snapshot(anew, let_go, KINDS)
    assert values(told) == served and told.rejected.keys() == {D1, P1}
    assert told.checksum == from_snapshot(anew, Configuration(), KINDS).checksum
    mended = after(told, entry(10, distribution("D1", 2, "P2")))
    assert values(mended) == {"P2": 5, "D1": ("D1", 2, 5)} and not mended.rejected


def test_a_bad_version_of_a_policy_leaves_the_good_one() -> None:
    refused = after(BEGINNING, entry(2, policy("P1", BAD)))
    assert values(refused) == values(BEGINNING) and reasons(refused) == {"P1": (2, "policy P1 is bad")}


def test_a_rejection_that_still_holds_is_the_same_one() -> None:
    one = after(BEGINNING, entry(2, policy("P1", BAD)))
    two = after(one, entry(3, distribution("D2", 1)))
    assert two.rejected is one.rejected
    three = after(two, entry(4, distribution("D2", BAD)))
    assert three.rejected[P1] is one.rejected[P1] and three.rejected.keys() == {P1, D2}


def test_a_put_that_says_what_is_served_already_is_no_change_that_could_be_refused() -> None:
    again = after(BEGINNING, entry(2, policy("P1", 5), distribution("D2", BAD)))
    assert reasons(again) == {"D2": (2, "distribution D2 is bad")} and again.served[P1].resource.revision == 2


def test_the_end_of_what_is_refused_ends_the_rejection() -> None:
    gone = after(BEGINNING, entry(2, distribution("D2", BAD)), entry(3, deleted=[D2]))
    assert not gone.rejected and values(gone) == values(BEGINNING)


def test_a_kind_and_bytes_that_nobody_understands_are_refused_by_name() -> None:
    strange = entry(2)
    strange.changes.add(put=sync_pb2.Resource(kind=sync_pb2.ResourceKind.ValueType(77), id="f", revision=2))
    torn = entry(3)
    torn.changes.add(put=sync_pb2.Resource(kind=sync_pb2.RESOURCE_KIND_DISTRIBUTION, id="D2", revision=3, body=b"\xff"))
    refused = after(BEGINNING, strange, torn)
    assert refused.rejected.keys() == {ResourceName(77, "f"), D2} and values(refused) == values(BEGINNING)


def snapshot(index: int, *bodies: tuple[int, Message], log_id: str = "log") -> sync_pb2.Snapshot:
    resources = [resource_message(body, revision) for revision, body in bodies]
    return sync_pb2.Snapshot(log_id=log_id, index=index, digest=b"s", resources=resources)


def test_a_snapshot_refuses_what_came_together_and_keeps_what_was_served() -> None:
    told = snapshot(9, (3, policy("P1", BAD)), (3, distribution("D2", 1)), (8, distribution("D1", 2)))
    chosen = from_snapshot(told, BEGINNING, KINDS)
    assert values(chosen) == {"P1": 5, "D1": ("D1", 2, 5)} and chosen.position == LogPosition("log", 9, b"s")
    assert {name: index for name, (index, _) in reasons(chosen).items()} == {"P1": 3, "D2": 3}
    other = from_snapshot(snapshot(9, (3, policy("P1", BAD)), (8, distribution("D1", 2)), log_id="b"), BEGINNING, KINDS)
    assert values(other) == {} and other.rejected.keys() == {P1, D1}, "nothing of another log is kept"


def test_what_is_refused_of_another_history_is_not_taken_for_what_was_refused_before() -> None:
    """A copy of the database that was put in place by hand goes on with the same indexes and other entries."""
    refused = after(BEGINNING, entry(2, policy("P1", BAD)))
    other = policy("P1", BAD)
    other.maximum_ttl_seconds = 99
    told = from_snapshot(snapshot(2, (2, other), (1, distribution("D1", 1))), refused, KINDS)
    assert configuration_pb2.CachePolicy.FromString(told.rejected[P1].change.put.body) == other
    assert restarted(told).checksum == told.checksum


def test_what_a_snapshot_repeats_is_not_read_again() -> None:
    chosen = from_snapshot(snapshot(9, (1, policy("P1", 5)), (1, distribution("D1", 1))), BEGINNING, KINDS)
    assert chosen.served[D1] is BEGINNING.served[D1] and chosen.checksum == BEGINNING.checksum


def test_a_program_that_has_learned_more_serves_what_was_refused_and_one_that_knows_less_the_version_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = after(BEGINNING, entry(2, policy("P1", BAD)))
    again = restarted(refused)
    assert (again.served.keys(), reasons(again)) == (refused.served.keys(), reasons(refused))
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.BAD", 99)
        learned = restarted(refused)
    assert values(learned) == {"P1": 13, "D1": ("D1", 1, 13)} and not learned.rejected
    forgotten = restarted(learned)
    assert values(forgotten) == {} and forgotten.rejected.keys() == {P1, D1}


def test_the_checksum_is_of_the_newest_version_of_everything() -> None:
    refused = after(BEGINNING, entry(2, policy("P1", BAD), distribution("D2", 1)), entry(3, deleted=[D1]))
    newest = [resource_message(policy("P1", BAD), 2), resource_message(distribution("D2", 1), 2)]
    assert refused.checksum == total_checksum(map(checksum_of, newest)) == restarted(refused).checksum


def test_a_change_among_ten_thousand_resources_takes_a_tenth_of_a_second_at_most() -> None:
    many = [(number, distribution(f"D{number}", 1)) for number in range(1, 10_001)]
    configuration = from_snapshot(snapshot(10_001, (10_001, policy("P1", 5)), *many), Configuration(), KINDS)
    began_at = time.process_time()
    configuration = after(
        configuration, *(entry(index, distribution("D7", index % 5)) for index in range(10_002, 10_007))
    )
    assert (time.process_time() - began_at) / 5 < 0.1
    assert configuration.value(distribution_name("D7")) == ("D7", 1, 5)


def test_a_change_beside_ten_thousand_resources_that_are_all_refused_takes_a_second_at_most() -> None:
    """As on a node that is older than what everybody has begun to use."""
    many = [(number, distribution(f"D{number}", BAD)) for number in range(1, 10_001)]
    began_at = time.process_time()
    refused = from_snapshot(snapshot(10_001, (10_001, policy("P1", 5)), *many), Configuration(), KINDS)
    after(refused, entry(10_002, policy("P2", 5)))
    assert (time.process_time() - began_at) / 2 < 1.0
    assert len(refused.rejected) == 10_000


def test_names_of_changes() -> None:
    made = entry(1, policy("P1", 5), deleted=[D1])
    assert [changed_name(change) for change in made.changes] == [P1, D1]
