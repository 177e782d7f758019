"""Sentences about which versions are served, after any history of entries and restarts: they fit together, and what came together holds or fails together."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.resources import (
    ResourceName,
    cache_policy_name,
    changed_name,
    checksum_of,
    distribution_name,
    total_checksum,
)
from proto.served_configuration import Configuration
from tests.depth import examples
from tests.unit.proto.test_served_configuration import BAD, after, distribution, entry, policy, restarted, values

POLICIES = ("P1", "P2")
CHANGES = st.one_of(
    st.builds(policy, st.sampled_from(POLICIES), st.sampled_from((5, 6, BAD))),
    st.builds(
        distribution, st.sampled_from(("D1", "D2", "D3")), st.sampled_from((1, 2, BAD)), st.sampled_from(POLICIES)
    ),
    st.sampled_from(
        (cache_policy_name("P1"), cache_policy_name("P2"), distribution_name("D1"), distribution_name("D2"))
    ),
)
"""What is put, or the name of what is deleted."""


def _entry(index: int, changes: list[object]) -> sync_pb2.Entry:
    bodies = {(type(each), each.id): each for each in changes if not isinstance(each, ResourceName)}  # type: ignore[attr-defined]
    made = entry(index, *bodies.values())  # type: ignore[arg-type]
    put = {changed_name(change) for change in made.changes}
    made.changes.extend(
        entry(index, deleted=[name for name in changes if isinstance(name, ResourceName) and name not in put]).changes
    )
    return made


def newest(configuration: Configuration) -> dict[ResourceName, sync_pb2.Resource | None]:
    """As the log has them."""
    found: dict[ResourceName, sync_pb2.Resource | None] = {
        name: served.resource for name, served in configuration.served.items()
    }
    for name, refused in configuration.rejected.items():
        found[name] = refused.change.put if refused.change.HasField("put") else None
    return found


def check(before: Configuration, configuration: Configuration, log: dict[ResourceName, sync_pb2.Resource]) -> None:
    known = {name: resource for name, resource in newest(configuration).items() if resource is not None}
    assert known == log, "nothing is forgotten, whether it is served or not"
    assert configuration.checksum == total_checksum(map(checksum_of, log.values()))
    for served in configuration.served.values():
        for target, value in served.references.items():
            assert configuration.value(target) is value, "what is served fits together"
    refused_indexes = {
        refused.rejection.index
        for name, refused in configuration.rejected.items()
        if name.kind != sync_pb2.RESOURCE_KIND_CACHE_POLICY or refused.change.HasField("put")
    }  # the end of a policy is put off alone
    for name, served in before.served.items():
        if name in configuration.rejected and configuration.rejected[name].change.HasField("put"):
            assert _body(configuration, name) == served.resource.body, "the last good version stays"
    for name, served in configuration.served.items():
        is_new_policy = name.kind == sync_pb2.RESOURCE_KIND_CACHE_POLICY and _body(before, name) is None
        if is_new_policy:
            continue
        if name not in configuration.rejected and served.resource.revision in refused_indexes:
            assert _body(before, name) == served.resource.body, "as a whole, but for what is no news"


def _body(configuration: Configuration, name: ResourceName) -> bytes | None:
    served = configuration.served.get(name)
    return None if served is None else served.resource.body


@settings(max_examples=examples(75))
@given(st.lists(st.tuples(st.lists(CHANGES, min_size=1, max_size=4), st.booleans()), max_size=8))
def test_after_any_history(history: list[tuple[list[object], bool]]) -> None:
    configuration, log = Configuration(LogPosition("log")), dict[ResourceName, sync_pb2.Resource]()
    for index, (changes, is_restarted) in enumerate(history, 1):
        told = _entry(index, changes)
        before, configuration = configuration, after(configuration, told)
        for change in told.changes:
            log.pop(changed_name(change), None)
            if change.HasField("put"):
                log[changed_name(change)] = change.put
        check(before, configuration, log)
        again = restarted(configuration)
        assert values(again) == values(configuration) and again.rejected == configuration.rejected
        assert again.checksum == configuration.checksum
        configuration = again if is_restarted else configuration
