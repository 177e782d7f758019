"""What a verdict costs: every checker and the failover table over a synthetic history of a million requests, with the rows of tiers and origins in proportion.

The history is right but for a few answers that are older than a receipt, and some errors, so that evidence is looked up as well. Who judges is a process of its
own: its time and its largest resident memory are what is measured. The bound is ten seconds and one gibibyte.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from lab.checkers.catalogue import CHECKERS, choose, judge
from lab.checkers.failover import failover_table
from lab.history.reader import HISTORY_FOLDER, open_history
from lab.history.schema import TABLES

SECONDS = 600
"""Of the run; objects change every thirty of them."""
EDGES, OBJECTS, EPOCH_SECONDS = 12, 20_000, 30
WANTED = [
    *(name for name in CHECKERS if name not in ("latency", "hit_ratio")),
    {"latency": {"p99_ms": 1000, "longest_ms": 10_000}},
    {"hit_ratio": {"at_least": 0.5, "of_before": 0.5}},
]

# Of request i: when it began, for which object (the square makes some popular), in which epoch.
_BASE = f"""
CREATE VIEW base AS SELECT i, 1000000000000 + i * ({SECONDS}000000000 // $N) AS t, (power(hash(i) % 1000000 / 1e6, 3) * {OBJECTS})::BIGINT AS o,
        CASE WHEN hash(i * 7) % {EDGES} = 1 THEN 2 ELSE hash(i * 7) % {EDGES} END AS e,
    i * {SECONDS} // ($N * {EPOCH_SECONDS}) AS epoch, 20000000 + hash(i * 3) % 30000000 AS took FROM range($N) r(i)
"""
_ROWS = {
    "nodes": f"""SELECT 'edge-' || i AS node, 'edge' AS role, 'region-' || i % 3 AS region, 'POP' || i AS pop, '127.0.1.' || i AS address FROM range({EDGES}) r(i)
        UNION ALL SELECT 'regional-' || i, 'regional', 'region-' || i, 'R' || i, '127.0.2.' || i FROM range(3) r(i)
        UNION ALL SELECT 'router-' || i, 'dns_router', 'region-' || i, NULL, '127.0.3.' || i FROM range(3) r(i)
        UNION ALL VALUES ('control', 'control_plane', 'region-0', NULL, '127.0.4.1'), ('origin-1', 'origin', 'region-0', NULL, '127.0.5.1')""",
    "lives": f"""SELECT node, 'boot' AS boot_id, '1' AS process, 999000000000 AS started_ns, 1000000000000 + {SECONDS + 5}000000000 AS last_ns,
        true AS is_ended, 0 AS dropped_rows
        FROM (SELECT node FROM nodes UNION ALL VALUES ('load'), ('lab'))""",
    "requests": f"""SELECT 'load-' || i % 4 || '/' || i AS id, md5(i::VARCHAR) || '==' AS request_id, 'website' AS profile, 'region-' || e % 3 AS region,
        'viewer-' || i % 5000 AS viewer,
        '10.2.' || i % 200 || '.0' AS client_address, t AS intended_ns, t + 50000 AS started_ns, t + took AS first_byte_ns, t + took + 1000000 AS ended_ns,
        '127.0.1.' || e || ',127.0.1.0' AS dns_answer, t - t % 5000000000 AS dns_asked_ns, '127.0.1.' || e AS address, 1 AS attempts, 'GET' AS method,
        'd1.cdn.localhost' AS host, '/objects/of/a/folder/' || o || '.js?v=1' AS path, NULL AS identity, CASE WHEN i % 5000 = 0 THEN 503 ELSE 200 END AS status,
        CASE WHEN i % 3 = 0 THEN 'Miss from cloudfront' ELSE 'Hit from cloudfront' END AS x_cache, 'FRA56-P' || e AS pop, 3 AS age_seconds,
        'max-age=60' AS cache_control,
        '"' || o || '-' || epoch || '"' AS entity_tag, 2000 + o AS content_length, 2000 + o AS received_bytes, hash(o, epoch) % 4294967296 AS body_checksum,
        'origin-1' AS stamp_origin,
        epoch || '.' || o AS stamp_version,
        1000000000000 + epoch::BIGINT * {EPOCH_SECONDS}000000000 - CASE WHEN i % 250000 = 1 THEN 40000000000 ELSE 0 END AS stamp_produced_ns,
        hash(o, epoch) % 4294967296 AS stamp_checksum FROM base""",
    "served": """SELECT 'edge-' || e AS node, md5(i::VARCHAR) || '==' AS request_id, t + 5000000 AS started_ns, t + took - 5000000 AS first_byte_ns,
        t + took - 4000000 AS ended_ns, '10.2.3.4' AS peer,
        'GET' AS method, 'd1.cdn.localhost' AS host, '/objects/of/a/folder/' || o || '.js?v=1' AS path, 200 AS status, 2000 + o AS sent_bytes,
        CASE WHEN i % 3 = 0 THEN 'miss' ELSE 'hit' END AS result, CASE WHEN i % 3 = 0 THEN 'not_stored' ELSE 'fresh' END AS reason, epoch AS "index" FROM base
        UNION ALL SELECT 'regional-' || e % 3, md5(i::VARCHAR) || '==', t + 8000000, t + took - 8000000, t + took - 7000000, '127.0.1.' || e, 'GET',
        'd1.cdn.localhost',
        '/objects/of/a/folder/' || o || '.js?v=1', 200, 2000 + o, CASE WHEN i % 2 = 0 THEN 'miss' ELSE 'hit' END, 'fresh', epoch FROM base WHERE i % 3 = 0""",
    "fills": """SELECT 'edge-' || e AS node, md5(i::VARCHAR) || '==' AS request_id, 'regional' AS tier, '127.0.2.' || e % 3 || ':8080' AS upstream,
        t + 6000000 AS started_ns, t + took - 6500000 AS head_ns, t + took - 6000000 AS ended_ns,
        'GET' AS method, 'd1.cdn.localhost' AS host, '/objects/of/a/folder/' || o || '.js?v=1' AS path, md5(i::VARCHAR) AS key, NULL AS variant, false AS is_conditional,
        NULL AS range, epoch AS "index",
        200 AS status, 2000 + o AS received_bytes, true AS is_shared, false AS must_confirm, NULL AS error FROM base WHERE i % 3 = 0
        UNION ALL SELECT 'regional-' || e % 3, md5(i::VARCHAR) || '==', 'origin', '127.0.5.1:8080', t + 9000000, t + took - 9500000,
        t + took - 9000000, 'GET', 'd1.cdn.localhost',
        '/objects/of/a/folder/' || o || '.js?v=1', md5(i::VARCHAR), NULL, false, NULL, epoch, 200, 2000 + o, true, false, NULL FROM base WHERE i % 6 = 0""",
    "origin_requests": f"""SELECT 'origin-1' AS node, any_value(md5(i::VARCHAR) || '==') AS request_id,
        1000000000000 + epoch::BIGINT * {EPOCH_SECONDS}000000000 AS started_ns, min(t) AS ended_ns, '127.0.2.1' AS peer,
        'GET' AS method, '/objects/of/a/folder/' || o || '.js?v=1' AS path, NULL AS identity, false AS is_conditional, NULL AS range, 200 AS status,
        epoch || '.' || o AS version,
        hash(o, epoch) % 4294967296 AS checksum, 2000 + o AS body_bytes, NULL AS misbehaviour FROM base GROUP BY o, epoch""",
    "applied": f"""SELECT n.node, 1000000000000 + i::BIGINT * {EPOCH_SECONDS}000000000 AS at_ns, 'log' AS log_id, i AS "index",
        'entry' AS how FROM range({SECONDS // EPOCH_SECONDS}) r(i),
        (SELECT node FROM nodes WHERE role IN ('edge', 'regional', 'dns_router')) n""",
    "leases": "SELECT node, 1000000000000 AS at_ns, 'held' AS state, 'leased' AS fence FROM nodes WHERE role IN ('edge', 'regional', 'dns_router')",
    "directory": "SELECT 'control' AS control_plane, 'edge-1' AS node, 1105000000000 AS at_ns, 'expired' AS state, 2 AS version",
    "routed": "SELECT 'router-' || i AS node, 1105100000000 AS at_ns, 2 AS version, 'edge-0,edge-2' AS routable FROM range(3) r(i)",
    "dns_answers": f"""SELECT 'router-' || i % 3 AS router, 'region-' || i % 3 AS region, 'd1.cdn.localhost' AS name,
        1000000000000 + i::BIGINT * 80000000 AS asked_ns,
        1000000000000 + i::BIGINT * 80000000 + 2000000 AS answered_ns,
        '127.0.1.0,127.0.1.' || CASE WHEN i BETWEEN 1310 AND 1880 THEN 2 ELSE 1 END AS addresses, 5 AS ttl_seconds
        FROM range({SECONDS * 12}) r(i)""",
    "invalidations": f"""SELECT 'I' || i || '-' || p AS id, 'E1' AS distribution_id, 'd1.cdn.localhost' AS host,
        CASE WHEN p = 0 THEN '/objects/of/*' ELSE '/objects/of/a/folder/' || p || '.js?v=1' END AS paths,
        i AS "index", 1000000000000 + i::BIGINT * {EPOCH_SECONDS}000000000 - 3 AS asked_ns, 1000000000000 + i::BIGINT * {EPOCH_SECONDS}000000000 - 2 AS issued_ns,
        1000000000000 + i::BIGINT * {EPOCH_SECONDS}000000000 - 1 AS completed_ns, NULL AS left_out FROM range({SECONDS // EPOCH_SECONDS}) r(i), range(50) q(p)""",
    "acknowledgements": """SELECT i.id AS invalidation_id, n.node, 'acknowledged' AS state, i.completed_ns - 1 AS at_ns, NULL AS fenced_by FROM invalidations i,
        (SELECT node FROM nodes WHERE role IN ('edge', 'regional')) n""",
    "writes": f"""SELECT 'object' AS kind, '/objects/of/a/folder/' || p || '.js' AS subject, 'origin-1' AS node, i || '.' || p AS version,
        1000000000000 + i::BIGINT * {EPOCH_SECONDS}000000000 - 13 AS asked_ns,
        1000000000000 + i::BIGINT * {EPOCH_SECONDS}000000000 - 12 AS confirmed_ns FROM range(1, {SECONDS // EPOCH_SECONDS}) r(i), range(1, 50) q(p)""",
    "faults": """SELECT 'F1' AS id, 'kill' AS fault, 'edge-1' AS target, 'edge-1' AS place, '{}' AS parameters, 1100000000000 AS began_ns,
        1100100000000 AS injected_ns,
        1150000000000 AS healing_ns, 1150500000000 AS healed_ns UNION ALL
        SELECT 'F2', 'http-status', 'origin-1', 'origin-1', '{}', 1300000000000, 1300100000000, 1330000000000, 1330100000000""",
}


def make(folder: Path, requests: int) -> None:
    """The Parquet files of such a history."""
    (folder / HISTORY_FOLDER).mkdir()
    connection = duckdb.connect(
        ":memory:", config={"threads": 2, "memory_limit": "1GB", "temp_directory": str(folder / "spill")}
    )
    connection.execute(_BASE.replace("$N", str(requests)))
    for table in sorted(TABLES, key=lambda table: table.name != "nodes"):  # others are made from it
        columns = ", ".join(f'"{column.name}" {column.type.value}' for column in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({columns})")
        if table.name in _ROWS or table.name in ("samples", "marks"):
            if table.name in _ROWS:
                connection.execute(f"INSERT INTO {table.name} BY NAME {_ROWS[table.name]}")
            connection.execute(f"COPY {table.name} TO '{folder / HISTORY_FOLDER / table.name}.parquet'")
    connection.close()


def largest_resident_kib() -> int:
    """Of this program alone: what getrusage says has that of the process which started it in it."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) if found else 0


def measure(folder: Path) -> None:
    """All checkers and the table, and each checker by itself."""
    choices, problems = choose(WANTED)
    assert not problems, problems
    start, before = time.perf_counter(), time.process_time()
    history = open_history(folder)
    judge(history, choices)
    checked = time.process_time()
    table = failover_table(history)
    wall, used = time.perf_counter() - start, time.process_time()
    resident = largest_resident_kib() / 1024
    print(
        f"all checkers and the failover table ({len(table)} faults): {wall:.2f} s, largest resident memory {resident:,.0f} MiB"
    )
    print(
        f"seconds of processors: {used - before:.2f}, of which the table {used - checked:.2f}; each checker by itself, with its evidence:"
    )
    for choice in choices:
        before = time.process_time()
        (check,) = judge(history, [choice])
        print(f"  {choice.name:26}{time.process_time() - before:7.2f} s  {check.outcome}, {check.found:,} wrong")


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description="cost of a verdict")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--judge", type=Path, metavar="DIR", help="a history that is there, instead of making one")
    arguments = parser.parse_args()
    if arguments.judge:
        measure(arguments.judge)
        return 0
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), arguments.requests)
        size = sum(path.stat().st_size for path in Path(name, HISTORY_FOLDER).iterdir()) / 1024 / 1024
        print(f"{arguments.requests:,} requests, {size:,.0f} MiB as Parquet", flush=True)
        return subprocess.run([sys.executable, "-m", "benchmarks.verdict", "--judge", name], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
