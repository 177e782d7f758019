"""Which rows the comparison has, and what distributions of the rows of stages say."""

import pytest
from google.protobuf import json_format

from benchmarks.peers import stages
from benchmarks.peers.__main__ import measurements
from benchmarks.peers.processes import UnsupportedError
from benchmarks.peers.session import CANNOT, PEERS
from benchmarks.peers.throughput import ROWS
from proto.cdn.v1 import configuration_pb2


def test_a_reason_to_leave_a_peer_out_is_of_a_row_that_exists() -> None:
    for peer, reasons in CANNOT.items():
        assert peer in PEERS
        assert set(reasons) <= set(measurements(1))


def test_hits_of_one_object_and_of_many_are_measured_against_haproxy() -> None:
    assert "haproxy" in PEERS
    assert {"hit 1 KiB", "hit Zipf 10,000"} <= {row.name for row in ROWS} - set(CANNOT["haproxy"])


def test_a_field_that_the_contract_does_not_have_is_left_out_also_inside() -> None:
    changes = {"enabled": True, "no_such": 1, "default_behavior": {"compress": True, "no_such": {"a": 1}}}
    descriptor = configuration_pb2.Distribution.DESCRIPTOR
    assert stages.known(changes, descriptor) == {"enabled": True, "default_behavior": {"compress": True}}


def test_a_variant_of_which_nothing_can_be_said_is_not_supported() -> None:
    with pytest.raises(UnsupportedError, match="no_such"):
        stages.with_changes({"no_such": 1})


@pytest.mark.parametrize("variant", stages.VARIANTS, ids=lambda variant: variant.row)
def test_a_distribution_says_what_its_row_switches_on_and_no_method_twice(variant: stages.Variant) -> None:
    wanted = stages.known(variant.changes, configuration_pb2.Distribution.DESCRIPTOR)
    if not wanted:
        pytest.skip("not in this build's contract")
    distribution = stages.with_changes(variant.changes)
    methods = distribution.default_behavior.allowed_methods
    assert len(methods) == len(set(methods)) > 0
    said = json_format.MessageToDict(distribution, preserving_proto_field_name=True)
    for name, value in wanted.items():
        if isinstance(value, dict):
            assert {inner: said[name][inner] for inner in value} == {
                inner: list(each) if isinstance(each, tuple) else each for inner, each in value.items()
            }
