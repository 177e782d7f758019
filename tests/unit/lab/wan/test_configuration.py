"""The relays' file: what it means, and everything that is wrong with one at once; links over the API; which place an address is at."""

import json

import pytest

from lab.wan.configuration import ClientAddress, Place, PlaceFinder, Transport
from lab.wan.configuration_file import WanFileError, parse_configuration
from lab.wan.link_documents import changed_link, link_to_json
from lab.wan.links import Distribution, Link, Path
from lab.wan.toxiproxy_documents import ApiError

FILE = """
api: 127.0.250.1:8474
outgoing_address: 127.0.250.1
seed: 7
bounds: {connections: 100, flows: 50, window_kib: 128, memory_mib: 16}
places:
  - {name: eu, networks: [127.0.60.0/24], outgoing_address: 127.0.251.1}
  - {name: us, networks: [127.0.11.0/24, 127.0.100.1/32]}
proxies:
  - {name: edge, listen: "127.0.61.1:8080", upstream: "127.0.11.1:8080", place: us, from: eu, client_address: proxy-v2}
  - {name: dns, listen: "127.0.61.1:8053", upstream: "127.0.0.1:8053", place: us, transport: both, client_address: bound, enabled: false}
links:
  - between: [eu, us]
    delay_ms: 40.5
    jitter_ms: 2
    distribution: pareto
    bandwidth_mbit: 100
    loss_percent: 0.5
    queue_kib: 512
    backward: {delay_ms: 60, cut: true}
"""


def test_a_file_says_everything() -> None:
    found = parse_configuration(FILE, "wan.yaml")
    (placed,) = found.links
    assert placed.link == Link(
        ("eu", "us"),
        Path(0.0405, 0.002, Distribution.PARETO, 12.5e6, 0.005, 512 << 10),
        Path(0.06, 0.002, Distribution.PARETO, 12.5e6, 0.005, 512 << 10, is_cut=True),
    )
    edge, dns = found.proxies
    assert (edge.client_place, dns.client_place) == ("eu", "")
    assert (edge.client_address, edge.transport, edge.is_enabled) == (ClientAddress.PROXY_V2, Transport.TCP, True)
    assert (dns.client_address, dns.transport, dns.is_enabled) == (ClientAddress.BOUND, Transport.BOTH, False)
    assert [place.outgoing_address for place in found.places] == ["127.0.251.1", ""]
    assert (found.seed, found.outgoing_address, found.bounds.window_bytes) == (7, "127.0.250.1", 128 << 10)


def test_json_is_a_file_too() -> None:
    text = json.dumps(
        {"places": [{"name": "a", "networks": ["10.0.0.0/8"]}], "links": [{"between": ["a", "a"], "delay_ms": 1}]}
    )
    assert parse_configuration(text, "wan.json").links[0].link.name == "a--a"


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "places: 5", "api: nowhere", "seed: -3", "unknown: 1", "bounds: {flows: 0}"]
)
def test_a_file_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(WanFileError, match=r"wan\.yaml"):
        parse_configuration(text, "wan.yaml")


def test_everything_that_is_wrong_is_told_at_once_with_its_line() -> None:
    wrong = (
        FILE.replace("127.0.60.0/24", "127.0.60.1/24")
        .replace('"127.0.61.1:8080"', '"127.0.61.1"')
        .replace("place: us, transport", "place: as, transport")
        .replace("jitter_ms: 2", "jitter_ms: 50")
    )
    with pytest.raises(WanFileError) as caught:
        parse_configuration(wrong, "wan.yaml")
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["7", "10", "11", "13"]
    assert (
        "127.0.60.1/24" in lines[0]
        and "HOST:PORT" in lines[1]
        and "unknown place 'as'" in lines[2]
        and "jitter" in lines[3]
    )


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("places: [{name: a, networks: []}, {name: a, networks: []}]", "place 'a' is there 2 times"),
        ("places: [{name: a, networks: [10.0.0.0/8]}, {name: b, networks: [10.0.0.0/8]}]", "network 10.0.0.0/8"),
        ("places: [{name: a, networks: []}]\nlinks: [{between: [a, a]}, {between: [a, a]}]", "a link between a and a"),
        ('proxies: [{name: a, listen: "h:1", upstream: "h:1", from: eu}]', "unknown place 'eu'"),
        (
            'places: [{name: eu, networks: []}]\nproxies: [{name: a, listen: "h:1", upstream: "h:1", from: eu}]',
            "from needs a place",
        ),
        ("links: [{between: [a]}]", "between must be a list of two places"),
        ('proxies: [{name: a/b, listen: "h:1", upstream: "h:1"}]', "no '/'"),
        (
            'proxies: [{name: a, listen: "h:1", upstream: "h:1", transport: udp, client_address: proxy-v2}]',
            "for tcp only",
        ),
        (
            'proxies: [{name: a, listen: "h:1", upstream: "h:1"}, {name: b, listen: "h:1", upstream: "h:2"}]',
            "listen h:1",
        ),
    ],
)
def test_what_contradicts_itself_is_told(more: str, reason: str) -> None:
    with pytest.raises(WanFileError, match=reason):
        parse_configuration(more, "wan.yaml")


def test_an_address_is_at_the_smallest_network_that_has_it() -> None:
    finder = PlaceFinder(
        [Place("all", ("127.0.0.0/8", "::/0")), Place("few", ("127.0.5.0/24",)), Place("one", ("127.0.5.9/32",))]
    )
    found = [finder.find(address) for address in ("127.9.9.9", "127.0.5.1", "127.0.5.9", "::1", "192.0.2.1")]
    assert found == ["all", "few", "one", "all", None]


LINK = Link(("a", "b"), Path(0.01), Path(0.02))


def test_a_link_over_the_api_is_changed_field_by_field() -> None:
    changed = changed_link(LINK, {"loss_percent": 5, "forward": {"cut": True, "bandwidth_mbit": 8}})
    assert changed.forward == Path(0.01, bytes_per_second=1e6, loss=0.05, is_cut=True)
    assert changed.backward == Path(0.02, loss=0.05)
    assert changed_link(LINK, link_to_json(LINK, ())["forward"]) == Link(("a", "b"), Path(0.01), Path(0.01))
    assert changed_link(LINK, {}) == LINK


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"delay": 1},
        {"delay_ms": "1"},
        {"delay_ms": -1},
        {"cut": 1},
        {"distribution": "flat"},
        {"forward": 3},
        {"jitter_ms": 999},
    ],
)
def test_a_change_that_makes_no_sense_is_refused(document: object) -> None:
    with pytest.raises(ApiError):
        changed_link(LINK, document)
