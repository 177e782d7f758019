"""Topologies: what a file may say, and that all its mistakes are told at once, each with its line."""

from pathlib import Path
from textwrap import dedent

import pytest

from edge_node.settings import SMALLEST_DISK_BYTES
from edge_node.storage.eviction.registry import POLICIES
from lab.errors import UsageError
from lab.topology.model import EVICTION_POLICIES, SMALLEST_DISK_MIB, Cache
from lab.topology.problems import Problem, TopologyError
from lab.topology.reader import parse_topology, read_topology, shipped_topology

SMALLEST = """\
regions:
  - {name: us-east-1, airport: IAD}
pops:
  - {name: IAD89-P1, region: us-east-1}
origins:
  - {name: origin-1, region: us-east-1}
"""


def problems_of(text: str) -> list[tuple[int, str]]:
    with pytest.raises(TopologyError) as caught:
        parse_topology(dedent(text), "lab.yaml")
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_the_default_topology_is_three_regions_on_three_continents() -> None:
    topology = read_topology(shipped_topology("default"))
    assert [region.name for region in topology.regions] == ["us-east-1", "eu-central-1", "ap-northeast-1"]
    assert [pop.edges for pop in topology.pops] == [2, 2, 2]
    assert [cache.region for cache in topology.regional_caches] == ["us-east-1", "eu-central-1"]
    assert len(topology.origins) == 2 and len(topology.routers) == 1
    assert topology.demo_distribution


def test_the_serve_topology_has_no_origin_of_its_own() -> None:
    topology = read_topology(shipped_topology("serve"))
    assert topology.origins == () and topology.origins_are_external
    assert not topology.demo_distribution


def test_everything_optional_has_a_default() -> None:
    topology = parse_topology(SMALLEST, "lab.yaml")
    assert (topology.zone, topology.loopback, topology.ports.viewer) == ("cdn.localhost", "127.0.0.0/16", 8080)
    assert topology.timing.lease_seconds == 5
    assert topology.default_region == "us-east-1"
    assert topology.pops[0].edges == 1


def test_caches_are_described_for_all_and_for_some() -> None:
    text = dedent(
        """\
        eviction_policy: sieve
        disk_mib: 512
        regions:
          - {name: us-east-1, airport: IAD}
        pops:
          - {name: IAD89-P1, region: us-east-1}
          - {name: IAD89-P2, region: us-east-1, cache_mib: 8, eviction_policy: lru, disk_mib: 0}
        regional_caches:
          - {region: us-east-1, disk_mib: 4096}
        origins: external
        """
    )
    topology = parse_topology(text, "lab.yaml")
    assert [pop.cache for pop in topology.pops] == [Cache(64, "sieve", 512), Cache(8, "lru", 0)]
    assert [each.cache for each in topology.regional_caches] == [Cache(128, "sieve", 4096)]


def test_caches_are_left_to_the_nodes_own_defaults() -> None:
    assert parse_topology(SMALLEST, "lab.yaml").pops[0].cache == Cache(64)


def test_a_cache_s_mistake_is_on_its_line() -> None:
    text = SMALLEST.replace("region: us-east-1}\norigins", "region: us-east-1, disk_mib: 7}\norigins")
    assert problems_of(text) == [(4, "disk_mib must be 0 for none, or at least 8, not 7")]


def test_the_lab_knows_what_nodes_take() -> None:
    """The lab sees nodes as black boxes, so it has the names a second time."""
    assert set(EVICTION_POLICIES) == set(POLICIES)
    assert SMALLEST_DISK_MIB << 20 == SMALLEST_DISK_BYTES


def test_a_loopback_range_given_on_the_command_line_replaces_the_file_s() -> None:
    topology = parse_topology(SMALLEST + "loopback: 127.9.0.0/16\n", "lab.yaml", loopback="127.15.0.0/16")
    assert topology.loopback == "127.15.0.0/16"
    with pytest.raises(TopologyError, match=r"^command line: loopback 10\.0\.0\.0/16: not a part of 127\.0\.0\.0/8$"):
        parse_topology(SMALLEST + "loopback: 127.9.0.0/16\n", "lab.yaml", loopback="10.0.0.0/16")


def test_all_mistakes_are_told_at_once_with_file_and_line() -> None:
    text = """\
        zone: cdn.localhost
        viewer_port: 80800
        regons: []
        regions:
          - {name: us-east-1, airport: IAD}
          - {name: moon, airport: QQQ}
        pops:
          - {name: IAD89-P1, region: us-east-1, edges: two}
          - {name: IAD89-P1, region: us-west-2}
          - {name: frankfurt, region: us-east-1, cache_mb: 64}
        origins: []
        populations:
          - {region: us-east-1, client_subnet: 10.1.2.3/16}
        """
    with pytest.raises(TopologyError) as caught:
        parse_topology(dedent(text), "lab.yaml")
    assert str(caught.value).splitlines() == [
        "lab.yaml:2: viewer_port must be from 1 to 65535, not 80800",
        "lab.yaml:3: unknown key 'regons' in the topology; did you mean 'regions'?",
        "lab.yaml:6: airport 'QQQ': no airport has this IATA code",
        "lab.yaml:8: edges must be a whole number, not text (two)",
        "lab.yaml:9: POP IAD89-P1 is there twice: first on line 8",
        "lab.yaml:9: unknown region 'us-west-2': there are moon, us-east-1",
        "lab.yaml:10: unknown key 'cache_mb' in each of pops; did you mean 'cache_mib'?",
        "lab.yaml:11: no origin: list at least one, or write `origins: external` when content comes from elsewhere",
        "lab.yaml:13: client_subnet '10.1.2.3/16': bits are set behind the prefix; did you mean 10.1.0.0/16?",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zone: -bad-", "zone '-bad-': not a domain name"),
        ("name: My Lab", "name 'My Lab': made of a-z, 0-9 and '-'"),
        ("lease_seconds: 1", "lease_seconds 1: shorter than 2 heartbeats"),
        ("lease_seconds: soon", "lease_seconds must be a number of seconds up to 3600, not text (soon)"),
        ("demo_distribution: maybe", "demo_distribution must be true or false, not text (maybe)"),
        ("routers: {region: us-east-1}", "routers must be a list, not `key: value` pairs"),
        ("routers: [us-east-1]", "each of routers must be `key: value` pairs, not text (us-east-1)"),
        ("routers: [{region: 5}]", "region must be text, not a number (5)"),
        ("routers: [{}]", "region is missing in each of routers"),
        ("default_region: mars", "unknown region 'mars': there are us-east-1"),
        ("loopback: 10.0.0.0/16", "loopback 10.0.0.0/16: not a part of 127.0.0.0/8"),
        ("disk_mib: 4", "disk_mib must be 0 for none, or at least 8, not 4"),
        ("disk_mib: -1", "disk_mib must be from 0 to 1048576, not -1"),
        ("disk_mib: 1GiB", "disk_mib must be a whole number, not text (1GiB)"),
        ("disk_mib: 1.5", "disk_mib must be a whole number, not 1.5"),
        ('disk_mib: "64"', "disk_mib must be a whole number, not text (64); write it without quotes"),
        (
            "eviction_policy: arc",
            "eviction_policy must be one of fifo, lru, s3fifo, sieve, wtinylfu, not text (arc)",
        ),
        (
            "eviction_policy: S3-FIFO",
            "eviction_policy must be one of fifo, lru, s3fifo, sieve, wtinylfu, not text (S3-FIFO); did you mean 's3fifo'?",
        ),
        ("eviction_policy: 2", "eviction_policy must be one of fifo, lru, s3fifo, sieve, wtinylfu, not a number (2)"),
        ("eviction_policy:", "eviction_policy must be one of fifo, lru, s3fifo, sieve, wtinylfu, not nothing"),
        ("evicton_policy: lru", "unknown key 'evicton_policy' in the topology; did you mean 'eviction_policy'?"),
        ("loopback: localhost", "loopback 'localhost': not a network such as 127.1.0.0/16"),
        (
            "loopback: 127.0.0.0/24",
            "loopback 127.0.0.0/24: too small, every POP takes a /24 of it: give at least a /16",
        ),
        (
            "links: [{between: [us-east-1, mars]}]",
            "unknown place 'mars': there are us-east-1, operator",
        ),
        ("links: [{between: [us-east-1]}]", "between must be a list of 2 names, as in [one, other]"),
        ("links: [{round_trip_ms: 5}]", "between must be a list of 2 names, as in [one, other]"),
        (
            "links: [{between: [us-east-1, us-east-1], round_trip_ms: -1}]",
            "round_trip_ms must be a number from 0 to 10000, not a number (-1)",
        ),
        (
            "links: [{between: [us-east-1, us-east-1], round_trip_ms: 2, jitter_ms: 5}]",
            "jitter_ms 5: more than half of the round trip, which is one way",
        ),
        (
            "links: [{between: [operator, operator]}]",
            "a link between operator and operator: viewers have links with regions only",
        ),
        ("latencies: [[us-east-1, us-east-1, 5]]", "latencies is no key any more: write links, as in docs/topology.md"),
        (
            "links: [{between: [us-east-1, us-east-1], jitter_ms: 5}]",
            "jitter_ms 5: more than one way between us-east-1 and us-east-1, 0.25 ms; give round_trip_ms, too",
        ),
        ("links: [{between: [us-east-1, us-east-1]}]", "nothing is said of this link but `between`"),
        ("dns_port: 8080", "port 8080 is used twice: by viewer_port and by dns_port"),
        ("control_plane: {grpc: 4566}", "port 4566 is used twice: by control_plane api and by control_plane grpc"),
        ("control_plane: {grcp: 5}", "unknown key 'grcp' in control_plane; did you mean 'grpc'?"),
        ("admin_port: 8080", "port 8080 is used twice: by viewer_port and by admin_port"),
        ("<<: {a: b}", "unknown key '<<' in the topology"),
    ],
)
def test_one_mistake_on_one_line(line: str, expected: str) -> None:
    found = [message for number, message in problems_of(SMALLEST + line + "\n") if number == 7]
    assert any(message.startswith(expected) for message in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (1, "the file is empty")),
        ("- a\n- b\n", (1, "the topology must be `key: value` pairs, not a list")),
        ("regions: [\n", (2, "not YAML: did not find expected node content")),
        (
            "pops:\n\t- {}\n",
            (2, "not YAML: found character that cannot start any token; YAML is indented with spaces, not with tabs"),
        ),
        ("name: a\nname: b\n", (2, "key 'name' is there twice: first on line 1")),
    ],
)
def test_what_is_no_topology_at_all(text: str, expected: tuple[int, str]) -> None:
    assert expected in problems_of(text)


def test_regions_pops_and_origins_are_needed() -> None:
    messages = [message for _, message in problems_of("zone: cdn.localhost\n")]
    assert [message.partition(":")[0] for message in messages] == ["no POP", "no origin", "no region"]


def test_an_origin_may_not_take_another_node_s_name() -> None:
    [(line, message)] = problems_of(SMALLEST.replace("origin-1", "edge-iad89-p1-1"))
    assert (line, message) == (6, "origin edge-iad89-p1-1: that is how the lab names its other nodes")


def test_an_origin_may_not_be_called_as_the_relays_are() -> None:
    assert problems_of(SMALLEST.replace("origin-1", "wan")) == [
        (6, "origin wan: that is how the lab names its other nodes")
    ]


def test_names_of_places_and_links_have_one_meaning() -> None:
    """Of `a` and `a-2`, the second population of one would be at the place of the first of the other."""
    regions = "regions:\n  - {name: a, airport: IAD}\n  - {name: a-2, airport: FRA}\n  - {name: b--c, airport: NRT}\n"
    populations = "".join(
        f"  - {{region: {name}, client_subnet: 10.{n}.0.0/16}}\n" for n, name in enumerate(("a", "a", "a-2"))
    )
    found = problems_of(regions + "pops: []\norigins: external\npopulations:\n" + populations)
    assert (4, "region b--c: -- stands between the two ends of a link") in found
    assert (10, "place viewers-a-2 is there twice: first on line 9") in found


def test_a_demo_needs_an_origin_of_the_lab() -> None:
    text = SMALLEST.replace("origins:\n  - {name: origin-1, region: us-east-1}\n", "origins: external\n")
    assert problems_of(text + "demo_distribution: true\n") == [
        (6, "demo_distribution needs an origin of the lab's own")
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.yaml: No such file"):
        read_topology(tmp_path / "missing.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary\.yaml: not UTF-8 text"):
        read_topology(binary)


def test_problems_come_in_the_order_of_lines_and_once() -> None:
    error = TopologyError("x.yaml", [Problem(3, "c"), Problem(1, "a"), Problem(3, "c")])
    assert str(error) == "x.yaml:1: a\nx.yaml:3: c"
