"""Every promise is broken on purpose in a real run, by faults of the catalogue or by programs with planted bugs, and its checker says so with evidence.

`FAULTS` and `PLANTED` are the tables: what breaks which checks. Checks that are not in the row of anything that a run has must be valid in it, and the run in which
nothing breaks is valid in everything. What no fault can break without being excused (a fault of a router excuses it from naming the dead, one of an origin excuses
caches from its bodies) is broken by programs of `planted_program`. All runs have one seed: their viewers ask for the same.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.checkers import catalogue
from lab.history.reader import History, open_history
from tests.integration.lab.experiments.planted_program import plant
from tests.integration.lab.experiments.scenario_runs import SECONDS, Runs, ended, viewers_came, wait_until
from tests.integration.lab_harness import CommandLine, taken_down
from tests.unit.lab.scenarios.scenario_texts import action

pytestmark = [pytest.mark.slow, pytest.mark.scenarios]
NEWS = "/bucket/news/{n}.txt"
FIRST, TORN, CROWDED, LOST = (NEWS.format(n=number) for number in range(1, 5))
SHORT_LIVED = (CROWDED, LOST)
FAULTS: Mapping[str, tuple[str, ...]] = {
    "lying-acknowledgement": ("freshness_after_receipts", "versions_after_receipts"),
    "clock-drift": ("staleness",),
    "http-delay": ("latency",),
    "http-status": ("availability", "errors", "recovery"),
}
"""Injected one after the other."""
PLANTED: Mapping[str, tuple[str, ...]] = {
    "tears_bodies": ("bodies", "tiers_agree"),
    "shares_what_is_personal": ("privacy", "staleness", "availability", "errors", "recovery"),
    "fetches_twice": ("collapse",),
    "forgets_invalidations": ("configuration_monotonic",),
    "finds_nothing": ("tiers_serve", "hit_ratio"),
    "names_the_dead": ("departure",),
    "loses_what_it_has_confirmed": ("durability",),
}
"""All in one run."""
PATHS = {"bodies": TORN, "tiers_agree": TORN, "privacy": "/api/me", "collapse": CROWDED, "durability": LOST}
"""What evidence is about, where a planted bug is about one path."""
CHECKERS: tuple[Any, ...] = (
    *(
        "freshness_after_receipts",
        "versions_after_receipts",
        "staleness",
        "privacy",
        "bodies",
        "configuration_monotonic",
    ),
    *("collapse", "durability", "tiers_agree", "tiers_serve"),
    {"availability": {"at_least": 0.99}},
    {"latency": {"longest_ms": 3500}},
    {"errors": {"excused_seconds": "4s"}},
    {"recovery": {"within_seconds": "1s", "at_least": 0.95}},
)
OF_A_DEATH: tuple[Any, ...] = ("departure", "return", {"hit_ratio": {"tier": "regional", "at_least": 0.01}})
VIEWERS = (
    {"profile": "objects", "users": 6, "rate": 60, "options": {"path": NEWS, "count": 4, "exponent": 0}},
    {"profile": "api", "users": 10, "rate": 40},
)
"""Three of ten requests of the API say who asks, so an origin that refuses those fails one request in eight: well beyond what recovery allows."""
SITE = {
    "name": "site",
    "origin": "origin-1",
    "behaviors": [
        {
            "path": "/api/*",
            "cache": {"default_ttl": 5, "query_strings": True, "cookies": ["session"], "headers": ["Authorization"]},
        }
    ],
}
VERSIONS = [
    action("put", path=path, cache_control="max-age=1" if path in SHORT_LIVED else "max-age=600")
    for path in (FIRST, TORN, CROWDED, LOST)
]
COME = action("wait", when="requests >= 100")
CHANGE = (action("put", path=FIRST, cache_control="max-age=600"), action("invalidate", paths=[FIRST]))


def after(seconds: float, step: dict[str, Any]) -> dict[str, Any]:
    """The step so long after the one before."""
    return step | {"pauses": {"before": seconds}}


def inject(fault: str, target: str, lease: str, **parameters: Any) -> dict[str, Any]:
    return action("inject", fault=fault, target=target, lease=lease, parameters=parameters)


BREAKING = (
    *VERSIONS,
    COME,
    inject("lying-acknowledgement", "role:edge", "2s"),
    *CHANGE,
    after(2.5, inject("clock-drift", "role:edge/1", "4s", rate=-0.8)),
    after(4.5, inject("http-delay", "origin-1", "2s", by="4s", path="/api/me")),
    after(5, inject("http-status", "origin-1", "4s", status=503, path="/api/")),
    after(6, action("wait")),
)
HARMLESS = (
    *VERSIONS,
    COME,
    inject("log-duplicate", "role:edge", "2s"),
    *CHANGE,
    action("put", path=LOST, cache_control="max-age=1"),
    after(2.5, inject("http-delay", "origin-1", "2s", by="300ms", path=CROWDED)),
    after(2.5, inject("kill", "role:edge/1", "7s")),
    action("invalidate", paths=["/bucket/other/*"]),
    after(9, action("wait")),
)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with taken_down(CommandLine(tmp_path)) as command:
        yield Runs(command)


def judged(runs: Runs, *method: dict[str, Any], checkers: tuple[Any, ...], seconds: int) -> dict[str, Any]:
    """A whole run of seed 7: its checks by name."""
    runs.write(*method, load=list(VIEWERS), distributions=[SITE], checkers=list(checkers), duration=seconds)
    status, output = runs.run("cdnlab", "--seed", "7")
    assert status in (0, 1, 2) and "Traceback" not in output, output
    return checks_of(runs)


def checks_of(runs: Runs) -> dict[str, Any]:
    checks = json.loads((runs.folder / "summary.json").read_text())["verdict"]["checks"]
    return {check["name"]: check for check in checks}


def outcomes(checks: Mapping[str, Any]) -> dict[str, str]:
    return {name: check["outcome"] for name, check in checks.items()}


def broken(checks: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is not valid, with what is said of it."""
    return {
        name: [check["outcome"], *check["evidence"]] for name, check in checks.items() if check["outcome"] != "valid"
    }


def test_each_fault_is_found_by_its_checkers_with_requests_of_its_time(runs: Runs) -> None:
    checks = judged(runs, *BREAKING, checkers=CHECKERS, seconds=18)
    hit = {name for names in FAULTS.values() for name in names}
    assert broken(checks).keys() == hit, broken(checks)
    history = open_history(runs.folder)
    try:
        for fault, names in FAULTS.items():
            for name in names:
                assert outcomes(checks)[name] == "invalid"
                assert of_its_time(history, fault, checks[name]["findings"]), (fault, checks[name])
    finally:
        history.close()


def of_its_time(history: History, fault: str, findings: list[dict[str, Any]]) -> list[str]:
    """Those that are about a request during the fault, with the way that it took through the tiers and the fault itself."""
    found = []
    for finding in findings:
        during = history.value(
            "SELECT count(*) FROM requests r, faults f WHERE r.id = ? AND f.fault = ? AND r.ended_ns > f.began_ns AND r.started_ns < f.healed_ns",
            [finding["id"], fault],
        )
        sentences = " ".join(finding["path"]["sentences"]) if during else ""
        if "edge-iad89-p1" in sentences and fault in sentences:
            found.append(finding["id"])
    return found


@pytest.mark.nightly
def test_the_same_seed_is_valid_in_everything_when_nothing_breaks_and_invalid_where_programs_do(tmp_path: Path) -> None:
    well, ill = tmp_path / "well", tmp_path / "ill"
    well.mkdir()
    ill.mkdir()
    checkers = (*CHECKERS, *OF_A_DEATH)
    with taken_down(CommandLine(well)) as command:
        checks = judged(Runs(command), *HARMLESS, checkers=checkers, seconds=18)
    assert not broken(checks), broken(checks)
    with taken_down(CommandLine(ill)) as command:
        checks = judged(Runs(command, plant(ill)), *HARMLESS, checkers=checkers, seconds=18)
    hit = {name for names in PLANTED.values() for name in names}
    # How many hits a small cache with a bug still has is for chance to say.
    assert broken(checks).keys() - {"hit_ratio"} == (hit | {"return"}) - {"hit_ratio"}, broken(checks)
    for name, path in PATHS.items():
        assert any(path in finding["sentence"] for finding in checks[name]["findings"]), checks[name]
    assert all(outcomes(checks)[name] == "invalid" for name in hit), broken(checks)
    assert outcomes(checks)["return"] == "unknown", (
        "nobody saw the dead left out, so nobody can have seen it named again"
    )
    assert what_was_chosen(well / "run") == what_was_chosen(ill / "run")


def what_was_chosen(directory: Path) -> tuple[Any, ...]:
    """What follows from the seed whatever becomes of it: the first paths of each viewer, and where faults were."""
    history = open_history(directory)
    try:
        first = """SELECT viewer, list(path ORDER BY started_ns)[:20] FROM requests WHERE profile <> 'probe' GROUP BY viewer
            HAVING count(*) >= 20 ORDER BY viewer"""
        return history.rows(first), history.rows("SELECT fault, place FROM faults ORDER BY ALL")
    finally:
        history.close()


def test_what_nobody_saw_to_the_end_is_unknown_and_never_valid(runs: Runs) -> None:
    """The history of an edge is taken away in the middle, and the load generator is killed."""
    runs.write(*VERSIONS, COME, *CHANGE, load=[VIEWERS[0]], checkers=list(CHECKERS), duration="60s")
    with ended(runs.start("cdnlab")) as process:
        wait_until(viewers_came(runs), process)
        wait_until(lambda: "receipt of" in marks(runs), process)
        shutil.rmtree(runs.command.state_dir / "nodes" / "edge-iad89-p1-1" / "history")
        for pid in of_locust(runs.command.folder):
            os.kill(pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1 and "Traceback" not in output, output
    checks = checks_of(runs)
    for name, checker in catalogue.CHECKERS.items():
        if name in checks:
            needs_them = {"requests", "served", "fills", "applied", "leases"} & {*checker.witnesses}
            assert checks[name]["outcome"] == ("unknown" if needs_them else "valid"), checks[name]
    assert "did not come to its end" in " ".join(checks["errors"]["evidence"])
    assert "edge-iad89-p1-1 wrote nothing down" in checks["collapse"]["evidence"]


def marks(runs: Runs) -> str:
    """What the run has said of itself so far."""
    found = [path.read_text() for path in (runs.folder / "history" / "raw").glob("lab/marks.tsv")]
    return "".join(found)


def of_locust(folder: Path) -> list[int]:
    """Pids of the load generators of a run below this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode() if entry.name.isdigit() else ""
        except OSError:
            continue
        if "locust" in line and str(folder) in line:
            found.append(int(entry.name))
    return found
