"""Runs with a history, made up: viewers in nine regions, POPs, regional caches and origins, two faults and thirty marks. The same at every call."""

import json
from pathlib import Path
from typing import Any

import duckdb

from lab.checkers.failover import failover_table
from lab.checkers.verdict import Check, Evidence, Outcome
from lab.history.explanation import explain
from lab.history.reader import HISTORY_FOLDER, History, history_of, open_history
from loadtests.run_clocks import note_clock
from proto.moments import ClockAnchor

ZERO_NS = 57_857_000_000_000
# Region: latitude, longitude, round trip of its last mile in ms, users; a POP each, in a few a regional cache.
REGIONS = {
    "us-east-1": (38.95, -77.46, 9.0, 8),
    "us-west-2": (45.54, -122.95, 12.0, 6),
    "sa-east-1": (-23.43, -46.47, 30.0, 4),
    "eu-west-1": (53.42, -6.27, 8.0, 4),
    "eu-central-1": (50.03, 8.57, 6.0, 8),
    "af-south-1": (-33.97, 18.6, 45.0, 2),
    "ap-south-1": (19.09, 72.87, 30.0, 6),
    "ap-northeast-1": (35.76, 140.39, 7.0, 8),
    "ap-southeast-2": (-33.95, 151.18, 14.0, 2),
}
AIRPORTS = dict(zip(REGIONS, ("IAD", "HIO", "GRU", "DUB", "FRA", "CPT", "BOM", "NRT", "SYD"), strict=True))
REGIONAL = ("us-east-1", "eu-central-1", "ap-northeast-1")
DURATION = 60
KILLED = "edge-iad89-p1-1"
CUT_LINK = "eu-central-1--ap-northeast-1"
FAILURES = 40
"""Of the first requests in the fault that the killed edge's viewers began."""
EXPLAINED = "load-10"
"""A request in evidence."""


def nodes() -> list[dict[str, Any]]:
    """As summary.json has them, with addresses as `http`."""
    found = [
        _node("control-plane", "control_plane", "us-east-1", "", "127.1.0.1"),
        _node("dns-1", "dns_router", "us-east-1", "", "127.1.0.2"),
    ]
    for number, region in enumerate(REGIONS, start=1):
        pop = f"{AIRPORTS[region]}89-P1"
        found += [_node(f"edge-{pop.lower()}-{each}", "edge", region, pop, f"127.1.{number}.{each}") for each in (1, 2)]
    for number, region in enumerate(REGIONAL, start=1):
        found.append(
            _node(f"regional-{region}-1", "regional", region, f"{AIRPORTS[region]}89-R1", f"127.1.100.{number}")
        )
    found += [
        _node(f"origin-{number}", "origin", region, "", f"127.1.200.{number}")
        for number, region in enumerate(("us-east-1", "eu-central-1"), 1)
    ]
    return found


def _node(name: str, role: str, region: str, pop: str, address: str) -> dict[str, Any]:
    latitude, longitude, *_ = REGIONS[region]
    return {
        "id": name,
        "role": role,
        "region": region,
        "pop": pop,
        "http": f"{address}:8080",
        "latitude": latitude,
        "longitude": longitude,
    }


def summary(history: History) -> dict[str, Any]:
    """With evidence and a failover table as checkers write them; what is said of the requests is made up."""
    way = explain(history, [EXPLAINED])[EXPLAINED]
    finding = Evidence("got version 1 after the receipt for version 2", EXPLAINED, "AbC_<x>", way)
    checks = [
        Check("bodies", Outcome.VALID, "Every body was whole, and of one version.", ("99,960 bodies were compared",)),
        Check(
            "staleness",
            Outcome.INVALID,
            "Nobody got content older than a receipt.",
            ("3 of 99,000 requests were older", finding.sentence),
            (finding,),
            60,
        ),
        Check("routing", Outcome.UNKNOWN, "No dead node was named beyond its lease.", ("dns-1 kept no history",)),
        Check("collapse", Outcome.VALID, "Each collapse made one fetch."),
    ]
    return {
        "topology_name": "world",
        "profile": "mixed",
        "users": sum(each[3] for each in REGIONS.values()),
        "nodes": nodes(),
        "populations": [
            {"region": region, "users": users, "latitude": latitude, "longitude": longitude}
            for region, (latitude, longitude, _, users) in REGIONS.items()
        ],
        "scenario": {
            "name": "edge-loss",
            "title": "An edge is lost under load",
            "description": "One edge dies without a word. Viewers go on by the other; no content is older than a receipt.",
            "seed": 7,
            "gates": {"hit_ratio": "at least 60 %"},
        },
        "verdict": {"outcome": "invalid", "checks": [check.to_json() for check in checks]},
        "failover": [each.to_json() for each in failover_table(history)],
    }


def write_recorded_run(directory: Path, requests: int = 3000) -> Path:
    """A folder with summary.json, links.json, clocks.jsonl and a history; no load.jsonl."""
    (directory / HISTORY_FOLDER).mkdir(parents=True, exist_ok=True)
    note_clock(directory, "lab", ClockAnchor("boot", 1_796_000_000_000_000_000, ZERO_NS))
    regions = list(REGIONS)
    pairs = [(one, other) for place, one in enumerate(regions) for other in regions[place:]] + [
        (f"viewers-{each}", each) for each in regions
    ]
    delays = [
        {"link": f"{one}--{other}", "direction": way, "what": "delay", "unit": "ms", "asked": 20.0, "measured": 20.31, "allowed": 2.0, "is_off": False}
        for one, other in pairs
        for way in ("forward", "backward")
    ]  # fmt: skip
    (directory / "links.json").write_text(json.dumps(delays), encoding="utf-8")
    tables = {
        "nodes": _history_nodes(),
        "marks": marks(),
        "faults": faults(),
        "invalidations": invalidations(),
    } | told()
    history = history_of(tables)
    _fill(history.connection, requests)
    for table in (*tables, "requests", "served", "fills", "origin_requests"):
        history.connection.execute(f"COPY {table} TO '{directory / HISTORY_FOLDER / table}.parquet'")
    history.close()
    history = open_history(directory)
    (directory / "summary.json").write_text(json.dumps(summary(history)), encoding="utf-8")
    history.close()
    return directory


def _history_nodes() -> list[dict[str, Any]]:
    return [
        {
            "node": each["id"],
            "address": each["http"].partition(":")[0],
            **{name: each[name] for name in ("role", "region", "pop")},
        }
        for each in nodes()
    ]


def at(seconds: float) -> int:
    return ZERO_NS + round(seconds * 1e9)


def marks() -> list[dict[str, Any]]:
    """Thirty: steps with an end, and moments."""
    steps = [
        ("step", name, f"step {name}", at(begin), at(end))
        for name, begin, end in (("warm up", 0.5, 12), ("break things", 12, 45), ("recover", 45, 58))
    ]
    moments = [
        ("fault", KILLED, f"{KILLED} killed with SIGKILL", at(20), None),
        ("healed", KILLED, f"{KILLED} started again", at(35), None),
    ]
    moments += [
        (
            "write",
            f"news/{number}.txt",
            f"origin-1 has version {number} of /bucket/news/{number}.txt",
            at(3 + number * 2.1),
            None,
        )
        for number in range(25)
    ]
    rows = [*steps, *moments]
    return [dict(zip(("kind", "subject", "text", "began_ns", "ended_ns"), row, strict=True)) for row in rows]


def faults() -> list[dict[str, Any]]:
    killed = {
        "id": "f1",
        "fault": "kill",
        "target": KILLED,
        "place": KILLED,
        "parameters": "{}",
        "began_ns": at(20),
        "injected_ns": at(20.1),
        "healing_ns": at(35),
        "healed_ns": at(35.2),
    }
    cut = {
        "id": "f2",
        "fault": "cut",
        "target": CUT_LINK,
        "place": CUT_LINK,
        "parameters": '{"share": 1}',
        "began_ns": at(40),
        "injected_ns": at(40),
        "healing_ns": None,
        "healed_ns": None,
    }
    return [killed, cut]


def told() -> dict[str, list[dict[str, Any]]]:
    """How it became known that the killed edge was gone."""
    return {
        "leases": [{"node": KILLED, "at_ns": at(25.12), "state": "expired", "fence": "asking"}],
        "directory": [
            {"control_plane": "control-plane", "node": KILLED, "at_ns": at(25.13), "state": "expired", "version": 9}
        ],
        "routed": [{"node": "dns-1", "at_ns": at(25.3), "version": 9, "routable": ""}],
    }


def invalidations() -> list[dict[str, Any]]:
    return [
        {
            "id": f"I{number}",
            "paths": "/bucket/news/*",
            "issued_ns": at(10 + number * 15),
            "asked_ns": at(9.9 + number * 15),
            "completed_ns": at(10.4 + number * 15),
        }
        for number in range(3)
    ]


# In order: requests of all regions in turn, evenly over the run; each at the first edge of its region, while that is dead at the other.
_REQUESTS = """
INSERT INTO requests BY NAME
SELECT 'load-' || i AS id, 'r' || i AS request_id, 'mixed' AS profile, region, began AS intended_ns, began + 200000 AS started_ns,
  began + (ms * 0.8e6)::BIGINT AS first_byte_ns, began + (ms * 1e6)::BIGINT AS ended_ns,
  '127.1.' || number || '.' || CASE WHEN number = 1 AND began BETWEEN {killed} AND {healed} THEN 2 ELSE 1 END AS address, 'GET' AS method, 'd1.cdn.localhost' AS host,
  '/bucket/' || (i % 97) || '.html' AS path, CASE WHEN is_failed THEN NULL ELSE 200 END AS status,
  CASE WHEN is_failed THEN NULL WHEN chance < 0.7 THEN 'Hit from cloudfront' ELSE 'Miss from cloudfront' END AS x_cache,
  CASE WHEN is_failed THEN 0 ELSE 20000 END AS received_bytes, CASE WHEN is_failed THEN 'connection reset' END AS error
FROM (SELECT i, chance, region, number, ZERO + (i * {spacing})::BIGINT AS began, last_mile * (1 + 9 * chance ** 6) AS ms,
        number = 1 AND sum(CASE WHEN number = 1 AND ZERO + (i * {spacing})::BIGINT > {killed} THEN 1 ELSE 0 END) OVER (ORDER BY i) BETWEEN 1 AND {failures} AS is_failed
      FROM (SELECT i, hash(i) / 18446744073709551615.0 AS chance, 1 + i % {regions} AS number FROM range({requests}) AS all_requests(i)) JOIN places USING (number))
"""
_TIERS = """
INSERT INTO served BY NAME SELECT n.node, r.request_id, r.started_ns, r.first_byte_ns, r.ended_ns, 'GET' AS method, r.path, 200 AS status, 20400 AS sent_bytes,
  CASE WHEN x_cache LIKE 'Hit%' THEN 'hit' ELSE 'miss' END AS result FROM requests r JOIN nodes n USING (address) WHERE r.error IS NULL;
INSERT INTO fills BY NAME SELECT s.node, s.request_id, 'regional' AS tier, u.address || ':8080' AS upstream, s.started_ns, s.ended_ns, 20000 AS received_bytes
  FROM served s JOIN nodes n USING (node) JOIN nodes u ON u.role = 'regional' AND u.region = CASE
    WHEN n.region LIKE 'ap-%' THEN 'ap-northeast-1' WHEN n.region LIKE 'us-%' OR n.region LIKE 'sa-%' THEN 'us-east-1' ELSE 'eu-central-1' END WHERE s.result = 'miss';
INSERT INTO served BY NAME SELECT n.node, f.request_id, f.started_ns, f.ended_ns, 200 AS status, 20000 AS sent_bytes,
  CASE WHEN hash(f.request_id) % 3 = 0 THEN 'hit' ELSE 'miss' END AS result FROM fills f JOIN nodes n ON n.address = split_part(f.upstream, ':', 1);
INSERT INTO fills BY NAME SELECT s.node, s.request_id, 'origin' AS tier, '127.1.200.' || (1 + hash(s.request_id) % 2) || ':8080' AS upstream, s.started_ns, s.ended_ns,
  20000 AS received_bytes FROM served s JOIN nodes n USING (node) WHERE n.role = 'regional' AND s.result = 'miss';
INSERT INTO origin_requests BY NAME SELECT n.node, f.request_id, f.started_ns, f.ended_ns, 200 AS status, 20000 AS body_bytes
  FROM fills f JOIN nodes n ON n.address = split_part(f.upstream, ':', 1) WHERE f.tier = 'origin';
"""


def _fill(connection: duckdb.DuckDBPyConnection, requests: int) -> None:
    connection.execute("CREATE TABLE places (number BIGINT, region VARCHAR, last_mile DOUBLE)")
    connection.executemany(
        "INSERT INTO places VALUES (?, ?, ?)",
        [[number, region, each[2]] for number, (region, each) in enumerate(REGIONS.items(), 1)],
    )
    question = _REQUESTS.format(
        killed=at(20),
        healed=at(35.2),
        failures=FAILURES,
        regions=len(REGIONS),
        requests=requests,
        spacing=DURATION * 1e9 / requests,
    )
    connection.execute(question.replace("ZERO", str(ZERO_NS)))
    connection.execute(_TIERS)
