"""What the zone says to every kind of question (dns_router/zone.py), read by dnspython."""

import dns.flags
import dns.rcode
import pytest

from dns_router.model import Reason, ResponseCode
from dns_router.zone import resolve
from tests.router_builders import (
    OWN_ADDRESS,
    TWO_EDGES_EACH,
    US,
    US_CLIENT,
    ZONE,
    addresses_in,
    ask,
    client,
    directory,
    distribution,
    edge,
    query,
    routing_table,
    soa_owner,
    zone,
)

ALIVE = directory(*TWO_EDGES_EACH)


def test_a_distribution_answers_with_authority_and_the_ttl_of_the_table() -> None:
    response = ask(zone(), ALIVE, "d1.cdn.localhost")
    assert addresses_in(response) == ["127.0.1.1", "127.0.1.2"]
    assert response.rcode() == dns.rcode.NOERROR and response.flags & dns.flags.AA and not response.flags & dns.flags.RA
    assert response.answer[0].ttl == 10


def test_an_alias_inside_the_zone_answers_and_one_outside_is_refused() -> None:
    served = zone(distribution(aliases=["www.cdn.localhost", "www.example.com"]))
    assert addresses_in(ask(served, ALIVE, "www.cdn.localhost"))
    assert ask(served, ALIVE, "www.example.com").rcode() == dns.rcode.REFUSED


def test_the_case_of_the_question_is_kept_and_does_not_matter() -> None:
    response = ask(zone(distribution(domain_name="D1.cdn.localhost")), ALIVE, "d1.CDN.LocalHost")
    assert addresses_in(response) and response.question[0].name.to_text() == "d1.CDN.LocalHost."
    assert response.answer[0].name.to_text() == "d1.CDN.LocalHost."


def test_an_unknown_name_does_not_exist() -> None:
    response = ask(zone(), ALIVE, "d2.cdn.localhost")
    assert response.rcode() == dns.rcode.NXDOMAIN and response.flags & dns.flags.AA
    assert soa_owner(response) == ZONE and response.authority[0].ttl == response.authority[0][0].minimum == 10


def test_a_disabled_distribution_exists_and_has_no_address() -> None:
    response = ask(zone(distribution(enabled=False)), ALIVE, "d1.cdn.localhost")
    assert response.rcode() == dns.rcode.NOERROR and not response.answer and soa_owner(response) == ZONE


@pytest.mark.parametrize("name", ["localhost", "evilcdn.localhost", "cdn.localhost.example", ".", "example.com"])
def test_names_outside_the_zone_are_refused(name: str) -> None:
    response = ask(zone(), ALIVE, name)
    assert response.rcode() == dns.rcode.REFUSED and not response.flags & dns.flags.AA
    assert not response.answer and not response.authority


@pytest.mark.parametrize("record_type", ["TXT", "MX", "HTTPS", "NS", "SOA", "TYPE65280"])
def test_other_types_of_a_distribution_have_no_data(record_type: str) -> None:
    response = ask(zone(), ALIVE, "d1.cdn.localhost", record_type)
    assert response.rcode() == dns.rcode.NOERROR and not response.answer and soa_owner(response) == ZONE


def test_any_gets_the_one_set_that_every_distribution_has() -> None:
    assert addresses_in(ask(zone(), ALIVE, "d1.cdn.localhost", "ANY")) == ["127.0.1.1", "127.0.1.2"]


def test_ipv6_addresses_need_an_enabled_distribution_and_an_edge_that_has_one() -> None:
    both = directory(edge("127.0.1.1", US), edge("2001:db8::1", US))
    enabled, plain = zone(distribution(ipv6_enabled=True)), zone()
    assert addresses_in(ask(enabled, both, "d1.cdn.localhost", "AAAA")) == ["2001:db8::1"]
    assert addresses_in(ask(enabled, both, "d1.cdn.localhost", "A")) == ["127.0.1.1"]
    for served, nodes in ((plain, both), (enabled, ALIVE)):
        response = ask(served, nodes, "d1.cdn.localhost", "AAAA")
        assert response.rcode() == dns.rcode.NOERROR and not response.answer and soa_owner(response) == ZONE


def test_without_any_live_edge_the_resolver_is_told_to_try_again() -> None:
    response = ask(zone(), directory(), "d1.cdn.localhost")
    assert response.rcode() == dns.rcode.SERVFAIL and not response.answer and not response.authority


def test_the_apex_has_soa_and_ns_and_nothing_else() -> None:
    soa = ask(zone(), ALIVE, ZONE, "SOA").answer[0][0]
    assert (soa.mname.to_text(), soa.serial) == ("ns.cdn.localhost.", 7)
    assert ask(zone(), ALIVE, ZONE, "NS").answer[0][0].target.to_text() == "ns.cdn.localhost."
    response = ask(zone(), ALIVE, ZONE, "A")
    assert response.rcode() == dns.rcode.NOERROR and not response.answer and soa_owner(response) == ZONE


def test_the_name_server_has_the_routers_own_address() -> None:
    assert addresses_in(ask(zone(), ALIVE, "ns.cdn.localhost")) == [OWN_ADDRESS]
    assert ask(zone(), ALIVE, "ns.cdn.localhost", "AAAA").rcode() == dns.rcode.NOERROR


def test_an_alias_at_the_apex_has_addresses_beside_what_makes_it_a_zone() -> None:
    served = zone(distribution(aliases=[ZONE]))
    assert addresses_in(ask(served, ALIVE, ZONE))
    assert ask(served, ALIVE, ZONE, "SOA").answer and ask(served, ALIVE, ZONE, "NS").answer


def test_a_wildcard_alias_matches_at_any_depth_but_not_what_exists() -> None:
    served = zone(
        distribution(aliases=["*.shop.cdn.localhost"]),
        distribution("E2", "d2.cdn.localhost", aliases=["de.shop.cdn.localhost"], enabled=False),
    )
    for name in ("fr.shop.cdn.localhost", "a.b.shop.cdn.localhost"):
        assert addresses_in(ask(served, ALIVE, name))
    # Exact beats wildcard, also below it (RFC 4592 section 3.3.1: the closest name that exists).
    assert not ask(served, ALIVE, "de.shop.cdn.localhost").answer
    assert ask(served, ALIVE, "x.de.shop.cdn.localhost").rcode() == dns.rcode.NXDOMAIN


def test_a_name_with_names_below_it_exists_without_data() -> None:
    response = ask(zone(distribution(aliases=["a.b.c.cdn.localhost"])), ALIVE, "b.c.cdn.localhost")
    assert response.rcode() == dns.rcode.NOERROR and not response.answer and soa_owner(response) == ZONE


@pytest.mark.parametrize("record_type", ["AXFR", "IXFR"])
def test_transfers_are_refused(record_type: str) -> None:
    assert ask(zone(), ALIVE, ZONE, record_type).rcode() == dns.rcode.REFUSED


def test_other_classes_are_refused() -> None:
    resolution = resolve(zone(), ALIVE, query("d1.cdn.localhost", "A", "CH"), client(US_CLIENT), 0)
    assert resolution.reason is Reason.OTHER_CLASS and resolution.code is ResponseCode.REFUSED


def test_a_table_with_nothing_but_a_zone_still_answers() -> None:
    bare = routing_table()
    bare.Clear()
    bare.zone = "example.test."
    served = zone(distribution(domain_name="d1.example.test"), table=bare)
    assert sorted(addresses_in(ask(served, ALIVE, "d1.example.test"))) == ["127.0.3.1", "127.0.3.2"]
