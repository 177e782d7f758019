"""A node that has applied what it was told says the checksum that the control plane expects of its role, after any history; one that lacks something says another."""

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.change_log import part_for, to_entry
from control_plane.checksums import RoleChecksums
from control_plane.nodes import Role
from control_plane.resource_kinds import (
    delete_distribution,
    put_cache_policy,
    put_distribution,
    put_geo_table,
    put_routing_table,
)
from control_plane.state import Change, Delete, Put
from dns_router.configuration import KINDS as ROUTER_KINDS
from edge_node.control.resource_kinds import KINDS as EDGE_KINDS
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from proto.resources import cache_policy_name, checksum_bytes
from proto.served_configuration import Configuration, from_snapshot, with_entry
from tests.builders import geo_table_message
from tests.depth import examples

KINDS = {Role.EDGE: EDGE_KINDS, Role.DNS_ROUTER: ROUTER_KINDS}
IDS = st.sampled_from(("A", "B"))
CHANGES = st.one_of(
    st.builds(lambda i, alias: put_distribution(configuration_pb2.Distribution(id=i, domain_name=alias)), IDS, st.sampled_from(("d", "a..b"))),
    st.builds(delete_distribution, IDS),
    st.builds(lambda i, ttl: put_cache_policy(configuration_pb2.CachePolicy(id=i, minimum_ttl_seconds=ttl)), IDS, st.integers(0, 2)),
    st.builds(lambda i: Delete(cache_policy_name(i)), IDS),
    st.builds(lambda zone: put_routing_table(configuration_pb2.RoutingTable(zone=zone)), st.sampled_from(("z", ""))),
    st.builds(lambda country: put_geo_table(geo_table_message({"192.0.2.0/24": country})), st.sampled_from(("DE", "nowhere"))),
)  # fmt: skip
"""Some of which nodes refuse."""


def one_each(changes: list[Change]) -> list[Change]:
    return list({change.name: change for change in changes if isinstance(change, Put | Delete)}.values())


@settings(max_examples=examples(100))
@given(st.lists(st.lists(CHANGES, min_size=1, max_size=4), min_size=1, max_size=8), st.data())
def test_nodes_and_the_control_plane_agree(history: list[list[Change]], data: st.DataObject) -> None:
    expected = RoleChecksums(sync_pb2.Snapshot(log_id="log"))
    nodes = {role: Configuration(LogPosition("log")) for role in KINDS}
    log: dict[object, sync_pb2.Resource] = {}
    position = LogPosition("log")
    missed = data.draw(st.integers(0, len(history) - 1))
    careless = nodes[Role.EDGE]
    for number, changes in enumerate(history):
        entry = to_entry(one_each(changes), position, 5.0)
        position = LogPosition("log", entry.index, entry.digest)
        expected.committed(entry)
        for change in entry.changes:
            log.pop((change.delete.kind, change.delete.id), None)
            if change.HasField("put"):
                log[change.put.kind, change.put.id] = change.put
        for role, kinds in KINDS.items():
            nodes[role] = with_entry(nodes[role], part_for(entry, role), kinds)
            assert not expected.differs(role, entry.index, checksum_bytes(nodes[role].checksum))
        if number != missed:
            careless = with_entry(careless, entry, EDGE_KINDS)
    snapshot = sync_pb2.Snapshot(log_id="log", index=position.index, resources=log.values())
    again = RoleChecksums(snapshot)
    whole = from_snapshot(snapshot, Configuration(), EDGE_KINDS)
    assert not again.differs(Role.EDGE, position.index, checksum_bytes(whole.checksum))
    lacks_nothing = careless.checksum == nodes[Role.EDGE].checksum  # what it missed was changed again, or no news
    assert again.differs(Role.EDGE, position.index, checksum_bytes(careless.checksum)) != lacks_nothing
    assert not again.differs(Role.EDGE, position.index - 1, b"another"), "one that is behind is told the rest"
    assert not again.differs(Role.EDGE, position.index, b""), "one that cannot tell is believed"
