"""Whose certificate may speak for which node."""

import logging

import pytest

from control_plane.admission import Admission
from control_plane.nodes import NodeDescription, Role

NODE = NodeDescription("edge-1", Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")


def peer(*uris: str) -> dict[str, list[bytes]]:
    return {"peer_uri": [uri.encode() for uri in uris], "x509_common_name": [b"edge-1"]}


def test_the_certificate_of_the_node_speaks_for_it() -> None:
    admission = Admission("z", is_certified=True)
    assert admission.why_refused(peer("cdnlab://z/edge/edge-1"), NODE) is None
    assert admission.refused_total == 0


@pytest.mark.parametrize(
    "uris",
    [
        [],  # a name beside the URI, as the common name, counts for nothing
        ["cdnlab://z/edge/edge-2"],
        ["cdnlab://z/regional/edge-1"],
        ["cdnlab://other/edge/edge-1"],
        ["cdnlab://z/edge/edge-1/"],
        ["CDNLAB://z/edge/edge-1"],
        ["cdnlab://z/edge/edge-1", "cdnlab://z/edge/edge-2"],
        ["\ufffd"],
    ],
)
def test_every_other_certificate_is_refused_with_what_is_wrong(uris: list[str]) -> None:
    reason = Admission("z", is_certified=True).why_refused(peer(*uris), NODE)
    assert reason is not None and reason.endswith("not of cdnlab://z/edge/edge-1")
    assert all(uri in reason for uri in uris) and ("nobody" in reason) is not bool(uris)


def test_an_id_cannot_reach_into_the_rest_of_the_name() -> None:
    """A node chooses its id, and `a/b` of one role must not be `b` of another."""
    node = NodeDescription("../regional/edge-1", Role.EDGE, "", "", "", "")
    assert Admission("z", is_certified=True).why_refused(peer("cdnlab://z/edge/../regional/edge-1"), node)


def test_each_certificate_is_told_of_once_and_counted_each_time(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission("z", is_certified=True)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            other = NodeDescription(f"edge-{number + 10}", Role.EDGE, "", "", "", "")
            admission.why_refused(peer("cdnlab://z/edge/edge-1"), other)
        admission.why_refused(peer("cdnlab://z/edge/edge-2"), NODE)
    assert admission.refused_total == 4
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_without_certificates_whoever_connects_is_a_node() -> None:
    admission = Admission("z", is_certified=False)
    assert admission.why_refused({}, NODE) is None and admission.refused_total == 0
