"""A run of real programs as its history tells it, beside what others saw of it: a viewer who counts, the origin's own log, the control plane's receipt.

In the middle of the run one edge is killed and started again, and nobody renews its lease; another one stands still from before the end until all has been gathered.
"""

import asyncio
import csv
import io
import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.clients.http_client import ask, get_json
from lab.clients.management_api import ManagementApi
from lab.cluster.running_processes import RunningProcesses
from lab.commands import query
from lab.history.archive import archive_history
from lab.history.raw_files import has_raw_files, raw_folder
from lab.history.reader import History, open_history
from lab.history.recording import Recording, collect, new_name
from lab.history.schema import REQUESTS
from tests.integration.lab.history.recorded_lab import (
    EDGE_1,
    EDGE_2,
    Viewer,
    origin_log,
    recorded_nodes,
    wait_for_rows,
    write_requests,
)
from tests.integration.lab_harness import SLOT_OF_A_MODULE, CommandLine, small, taken_down

REGIONAL = "regional-us-east-1-1"


@dataclass
class Run:
    """What the others saw, and the history."""

    folder: Path
    viewer: Viewer
    origin: list[dict[str, Any]]
    receipt: dict[str, Any]
    silent_at_the_end: frozenset[str]
    problems: list[str]
    history: History


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with taken_down(CommandLine(tmp_path_factory.mktemp("recorded"))) as command:
        done = command.run("up", command.topology(small(SLOT_OF_A_MODULE)), "--detach")
        assert done.status == 0, done.err
        made = record_run(command, RunningProcesses.attach(command.state_dir), command.folder / "runs" / "one")
    yield made
    made.history.close()


def record_run(command: CommandLine, lab: RunningProcesses, folder: Path) -> Run:
    distribution = lab.status().distributions[0]
    viewer = Viewer(lab, distribution.domain_name)
    recording = Recording(recorded_nodes(lab), new_name(folder))
    check_who_may_ask(lab)
    asyncio.run(recording.begin())
    assert not recording.silent
    for number in range(120):
        viewer.get((EDGE_1, EDGE_2)[number % 2], f"/nothing/{number % 30}")
    viewer.get(EDGE_2, "/images/2.svg", ("range", "bytes=10-19"))
    receipt = invalidate(lab, distribution.id)
    viewer.get(EDGE_2, "/images/1.svg")
    kill_under_requests(lab, viewer)
    wait_until_counted_out(lab, EDGE_1)
    assert command.run("start", EDGE_1).status == 0
    lab.wait_until_live(EDGE_1)
    for number in range(40):
        viewer.get(EDGE_1, f"/again/{number % 8}")
    rows_of_edge_2 = sum(each.edge == EDGE_2 for each in viewer.seen)
    wait_for_rows(lab, EDGE_2, "served", rows_of_edge_2)
    lab.pause(EDGE_2)
    try:
        asyncio.run(recording.end())
        origin = origin_log(lab)
        problems = collect(folder, recording.name, [node.id for node in recorded_nodes(lab)], lab.fetch_history)
    finally:
        lab.unpause(EDGE_2)
    write_requests(viewer, raw_folder(folder) / "load", tuple(column.name for column in REQUESTS.columns))
    assert not archive_history(folder).left_out_lines
    return Run(folder, viewer, origin, receipt, recording.silent, problems, open_history(folder))


def check_who_may_ask(lab: RunningProcesses) -> None:
    """Nobody's web page, and in JSON."""
    json_type, page = ("content-type", "application/json"), ("origin", "http://evil.example")
    for node in recorded_nodes(lab):
        for headers, body, status in (((), b"{}", 415), ((json_type, page), b"{}", 403), ((json_type,), b"{}", 400)):
            assert ask(node.admin_address, "/history", method="POST", headers=headers, body=body).status == status
        assert get_json(node.admin_address, "/history")["state"] == "idle"


def invalidate(lab: RunningProcesses, distribution_id: str) -> dict[str, Any]:
    """The receipt, once it is complete."""
    with ManagementApi(lab.status().api) as api:
        identifier = api.invalidate(distribution_id, ["/images/*"])
    admin = lab.addresses("control-plane").admin
    for _ in range(1_000):
        receipt = get_json(admin, f"/receipts/{identifier}")
        if receipt["status"] == "Completed":
            return receipt
        threading.Event().wait(0.01)  # it is another process that completes it
    raise AssertionError(receipt)


def wait_until_counted_out(lab: RunningProcesses, node_id: str) -> None:
    admin = lab.addresses("control-plane").admin
    for _ in range(2_000):
        states = {each["id"]: each["state"] for each in get_json(admin, "/status")["nodes"]}
        if states[node_id] == "expired":
            return
        threading.Event().wait(0.01)  # its lease ends by the passing of time
    raise AssertionError(states)


def kill_under_requests(lab: RunningProcesses, viewer: Viewer) -> None:
    enough = threading.Event()
    asking = threading.Thread(target=viewer.get_until_it_fails, args=(EDGE_1, enough))
    asking.start()
    assert enough.wait(30)
    lab.kill(EDGE_1)
    asking.join()


def last_written_ns(run: Run) -> int:
    """Until when the killed process says that it has written everything."""
    return int(run.history.value("SELECT min(last_ns) FROM lives WHERE node = ? AND NOT is_ended", [EDGE_1]))


def test_every_answer_has_one_row_at_its_edge_but_for_the_last_moments_of_the_killed_one(run: Run) -> None:
    rows = Counter(run.history.rows("SELECT node, request_id, path, status FROM served WHERE node LIKE 'edge-%'"))
    seen = {(each.edge, each.request_id, each.path, each.status): each for each in run.viewer.seen}
    assert len(seen) == len(run.viewer.seen) and set(rows.values()) == {1}
    # Whoever was answered in the moment of the kill has a row, and no answer.
    assert len(rows.keys() - seen.keys()) <= 1
    lost = [each for key, each in seen.items() if key not in rows]
    kept_ns = [each.ended_ns for key, each in seen.items() if key in rows and each.edge == EDGE_1]
    second_life_ns = run.history.value("SELECT max(started_ns) FROM lives WHERE node = ?", [EDGE_1])
    newest_kept_ns = max(ns for ns in kept_ns if ns < second_life_ns)
    assert all(each.edge == EDGE_1 and each.started_ns > last_written_ns(run) for each in lost)
    assert all(newest_kept_ns < each.ended_ns < second_life_ns for each in lost), "what is lost is the end, and no more"


def test_moments_lie_between_those_of_the_viewer(run: Run) -> None:
    seen = {(each.edge, each.request_id): each for each in run.viewer.seen}
    rows = run.history.rows(
        "SELECT node, request_id, started_ns, first_byte_ns, ended_ns FROM served WHERE node LIKE 'edge-%'"
    )
    compared = [(seen[node, request_id], moments) for node, request_id, *moments in rows if (node, request_id) in seen]
    assert compared
    for viewer, (started_ns, first_byte_ns, ended_ns) in compared:
        assert viewer.started_ns <= started_ns <= first_byte_ns <= ended_ns
        assert first_byte_ns <= viewer.ended_ns


def test_a_fill_of_an_edge_is_a_request_at_the_regional_cache(run: Run) -> None:
    asked = Counter(
        run.history.rows("SELECT request_id, path, status FROM fills WHERE tier = 'regional' AND status IS NOT NULL")
    )
    served = Counter(run.history.rows("SELECT request_id, path, status FROM served WHERE node = ?", [REGIONAL]))
    assert not asked - served and set(asked.values()) == {1} and len(asked) >= 40
    # What the edge that was killed, and the one that stands still, were answered in their last moment they have not written down.
    assert (served - asked).total() <= 2


def test_fills_from_the_origin_are_those_of_its_own_log(run: Run) -> None:
    began_ns = run.history.value("SELECT min(started_ns) FROM fills")
    told = Counter(
        (
            dict(map(tuple, each["headers"]))["x-amz-cf-id"],
            each["method"],
            each["target"],
            dict(map(tuple, each["headers"])).get("range"),
        )
        for each in run.origin
        if any(name == "x-amz-cf-id" for name, _ in each["headers"])
    )
    fills = Counter(
        run.history.rows(
            "SELECT request_id, method, path, range FROM fills WHERE tier = 'origin' AND status IS NOT NULL"
        )
    )
    own = Counter(run.history.rows("SELECT request_id, method, path, range FROM origin_requests"))
    assert fills and began_ns and fills == own
    assert not fills - told, "the origin has been asked before as well, by `up`"


def test_a_receipt_is_not_before_a_node_says_that_it_has_applied(run: Run) -> None:
    index = run.receipt["index"]
    acknowledged = {
        each["id"]: each["acknowledged_monotonic_ns"]
        for each in run.receipt["nodes"]
        if each["state"] == "acknowledged"
    }
    applied: dict[str, int] = dict(
        run.history.rows(
            "SELECT node, min(at_ns) FROM applied WHERE \"index\" >= ? AND how = 'entry' GROUP BY node", [index]
        )
    )
    assert set(acknowledged) == set(applied) and len(applied) >= 4
    assert all(run.receipt["issued_monotonic_ns"] <= applied[node] <= acknowledged[node] for node in applied)
    later = run.history.rows(
        'SELECT DISTINCT served."index" >= ? FROM served JOIN applied USING (node) WHERE applied."index" >= ? AND served.started_ns > applied.at_ns',
        [index, index],
    )
    assert later == [(True,)]


def test_a_killed_edge_is_written_down_by_those_who_stay(run: Run) -> None:
    states = run.history.rows("SELECT state, version FROM directory WHERE node = ? ORDER BY at_ns", [EDGE_1])
    assert [state for state, _ in states][:3] == ["live", "expired", "live"]
    assert states[0][1] < states[1][1] < states[2][1]
    gone = run.history.rows("SELECT routable FROM routed WHERE version >= ? ORDER BY version LIMIT 1", [states[1][1]])
    assert gone == [(EDGE_2,)]
    assert run.history.rows("SELECT state FROM leases WHERE node = ? ORDER BY at_ns DESC LIMIT 1", [EDGE_1]) == [
        ("held",)
    ]


def test_whoever_kept_a_history_says_from_when_to_when(run: Run) -> None:
    lives = run.history.rows("SELECT node, is_ended, dropped_rows FROM lives ORDER BY node, started_ns")
    assert lives == [
        ("control-plane", True, 0), ("dns-1", True, 0), (EDGE_1, False, 0), (EDGE_1, True, 0), (EDGE_2, False, 0), ("origin-1", True, 0), (REGIONAL, True, 0)
    ]  # fmt: skip
    assert run.silent_at_the_end == {EDGE_2} and not run.problems
    assert not has_raw_files(run.folder) and "lives" not in run.history.missing and "faults" in run.history.missing


def asked(run: Run, capsys: pytest.CaptureFixture[str], question: str, *, as_json: bool, as_csv: bool) -> str:
    assert query.run(run=str(run.folder), question=question, forms=(as_json, as_csv), is_all=True, schema=None) == 0
    return capsys.readouterr().out


def test_the_command_answers_in_three_forms(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    question = "SELECT node, count(*) AS answers FROM served GROUP BY node ORDER BY node"
    rows = run.history.rows(question)
    as_json = asked(run, capsys, question, as_json=True, as_csv=False)
    assert [tuple(json.loads(line).values()) for line in as_json.splitlines()] == rows
    as_csv = list(csv.reader(io.StringIO(asked(run, capsys, question, as_json=False, as_csv=True))))
    assert as_csv == [["node", "answers"], *[[node, str(count)] for node, count in rows]]
    table = asked(run, capsys, question, as_json=False, as_csv=False).splitlines()
    assert [line.split() for line in table] == [["node", "answers"], *[[node, str(count)] for node, count in rows]]


@pytest.mark.parametrize("number", range(10))
def test_an_example_of_the_documents_is_answered(run: Run, number: int) -> None:
    """The questions of docs/history.md, in order."""
    text = (Path(__file__).parents[4] / "docs" / "history.md").read_text()
    questions = [part.partition("```")[0] for part in text.split("```sql\n")[1:]]
    assert len(questions) == 10
    answer = run.history.records(questions[number])
    assert answer, questions[number]
