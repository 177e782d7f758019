"""What viewers ask for and when: shares, popularity, sessions, the browser's cache."""

from collections import Counter
from ipaddress import ip_address, ip_network
from random import Random

import pytest

from loadtests.workload import (
    MAXIMUM_LAG_SECONDS,
    BrowserCache,
    Population,
    RegionalPopularity,
    ZipfPopularity,
    client_address,
    freshness_seconds,
    group_name,
    linked_assets,
    next_intended_start,
    plan_browsing,
    seating_order,
)


def population(region: str, users: int) -> Population:
    return Population(region, "10.1.0.0/16", users)


def test_seats_follow_the_shares_in_every_round_and_are_mixed() -> None:
    order = [each.region for each in seating_order([population("a", 5), population("b", 3), population("c", 2)])]
    assert Counter(order) == {"a": 5, "b": 3, "c": 2}
    assert set(order[:3]) == {"a", "b", "c"}
    assert "aaa" not in "".join(order)


def test_a_population_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        population("a", 0)
    with pytest.raises(ValueError, match=r"10\.1\.0\.0/99"):
        Population("a", "10.1.0.0/99", 1)


@pytest.mark.parametrize("subnet", ["10.1.0.0/16", "10.1.2.0/30", "10.1.2.3/32", "2001:db8::/48"])
def test_client_addresses_are_hosts_of_the_subnet(subnet: str) -> None:
    network, rng = ip_network(subnet), Random(1)
    for _ in range(100):
        address = ip_address(client_address(subnet, rng))
        assert address in network
        if network.num_addresses > 2:
            assert address != network.network_address
            assert int(address) != int(network.network_address) + network.num_addresses - 1


def test_zipf_draws_in_proportion_to_rank() -> None:
    popularity, rng = ZipfPopularity(100, exponent=1.0), Random(2)
    drawn = Counter(popularity.rank(rng) for _ in range(40_000))
    assert set(drawn) <= set(range(100))
    assert drawn[0] / drawn[1] == pytest.approx(2.0, rel=0.1)
    assert drawn[0] / drawn[9] == pytest.approx(10.0, rel=0.2)


def test_regions_agree_on_part_of_what_is_popular() -> None:
    def top(region: str, share: float) -> set[int]:
        popularity, rng = RegionalPopularity(200, region, share), Random(3)
        return {page for page, _ in Counter(popularity.pick(rng) for _ in range(20_000)).most_common(20)}

    assert top("a", 1.0) == top("b", 1.0)
    assert len(top("a", 0.0) & top("b", 0.0)) < 10
    assert 5 < len(top("a", 0.7) & top("b", 0.7)) < 20


def test_browsing_sessions_have_the_planned_means_and_repeat_with_the_seed() -> None:
    popularity = RegionalPopularity(50, "a")
    rng = Random(4)
    sessions = [plan_browsing(rng, popularity, 8.0, 2.0) for _ in range(3_000)]
    pages = [len(session.pages) for session in sessions]
    pauses = [pause for session in sessions for pause in session.pauses_seconds]
    assert sum(pages) / len(pages) == pytest.approx(8.0, rel=0.1)
    assert sum(pauses) / len(pauses) == pytest.approx(2.0, rel=0.1)
    assert plan_browsing(Random(5), popularity, 8.0, 2.0) == plan_browsing(Random(5), popularity, 8.0, 2.0)


def test_intended_starts_keep_to_the_plan_and_forgive_only_what_is_too_old() -> None:
    assert next_intended_start(100.0, 2.0, now=101.0) == 102.0  # early: wait
    assert next_intended_start(100.0, 2.0, now=104.0) == 102.0  # late: latency counts from the plan
    assert next_intended_start(100.0, 2.0, now=200.0) == 200.0 - MAXIMUM_LAG_SECONDS


def test_a_browser_loads_what_the_page_names_on_its_host_once() -> None:
    html = (
        b'<link rel="stylesheet" href="/assets/site.css"><LINK HREF=\'/favicon.ico\' rel="icon">'
        b'<link rel="canonical" href="/pages/1.html"><script src="../assets/app.js" defer></script>'
        b'<img alt="x" src="/images/1.png"><img src="/images/1.png"><img src="https://elsewhere.example/x.png">'
        b'<img src="//elsewhere.example/y.png"><img src="data:image/png;base64,AA"><a href="/pages/2.html">next</a>'
    )
    assert linked_assets("/pages/1.html", html) == [
        "/assets/app.js",
        "/images/1.png",
        "/assets/site.css",
        "/favicon.ico",
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/index.html", "/index.html"),
        ("/pages/17.html", "/pages/[n].html"),
        ("/api/products?page=3&sort=price", "/api/products?page&sort"),
        ("/images/400.png?", "/images/[n].png"),
    ],
)
def test_requests_are_grouped_by_what_they_are(path: str, name: str) -> None:
    assert group_name(path) == name


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("public, max-age=60", 60.0),
        ('MAX-AGE="5"', 5.0),
        ("", 0.0),
        ("max-age=60, no-cache", 0.0),
        ("no-store, max-age=60", 0.0),
        ("max-age=soon", 0.0),
    ],
)
def test_freshness_of_a_private_cache(cache_control: str, seconds: float) -> None:
    assert freshness_seconds(cache_control) == seconds


def test_the_browser_cache_saves_requests_while_fresh_and_revalidates_after() -> None:
    cache = BrowserCache()
    assert not cache.is_fresh("/a", now=0.0)
    assert cache.validator("/a") == ""
    cache.store("/a", {"cache-control": "max-age=60", "age": "20", "etag": '"1"'}, now=0.0)
    assert cache.is_fresh("/a", now=39.0)
    assert not cache.is_fresh("/a", now=40.0)  # it had spent 20 s in the CDN
    assert cache.validator("/a") == '"1"'
    cache.store("/a", {"cache-control": "max-age=60"}, now=40.0)  # 304 without ETag renews the entry
    assert cache.is_fresh("/a", now=99.0)
    assert cache.validator("/a") == '"1"'
    cache.store("/a", {"cache-control": "no-store"}, now=50.0)
    assert not cache.is_fresh("/a", now=50.0)


def test_the_browser_cache_is_bounded() -> None:
    cache = BrowserCache(maximum_entries=2)
    for path in ("/a", "/b", "/c"):
        cache.store(path, {"cache-control": "max-age=60"}, now=0.0)
    assert [cache.is_fresh(path, now=1.0) for path in ("/a", "/b", "/c")] == [False, True, True]
