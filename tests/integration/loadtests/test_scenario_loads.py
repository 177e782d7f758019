"""What scenarios need of the load: several load generators at once, each with its own profile, rate or stages, against a real origin in place of an edge."""

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.experiments.load import LoadError, LoadRun
from loadtests.intensity import Intensity
from loadtests.plan import Address, LoadPlan
from loadtests.stages import Stage
from loadtests.workload import Population
from tests.integration.loadtests.load_peers import ROOT, free_port, lines_of, running, wait_ready
from tests.integration.loadtests.test_viewer import ScriptedRouter

SITE = "127.16.4.1"
POPULATIONS = (Population("eu", "10.2.0.0/16", 2), Population("us", "10.1.0.0/16", 1))
SECONDS = 5
LOADS = {
    "objects": Intensity(
        name="steady", seed=5, rate=40, options={"path": "/download/item-{n}?size=20KiB", "count": 50}
    ),
    "flash-crowd": Intensity(
        name="crowd", stages=(Stage(0, 3), Stage(1, 12), Stage(3, 3)), options={"path": "/echo/news?size=1000"}
    ),
    "cache-busting": Intensity(name="attack", options={"path": "/echo/busted-{n}?size=10", "busting_share": 0.8}),
    "slow-readers": Intensity(
        name="slow", options={"path": "/download/slow.bin?size=9MiB", "hold_seconds": 1, "pause_seconds": 0.1}
    ),
    "conditional": Intensity(name="again", options={"path": "/pages/{n}.html", "count": 3, "pause_seconds": 0.05}),
}
USERS = 6


class Site:
    """An origin, what it was asked, and the folders of the loads."""

    def __init__(self, admin: str, folder: Path, statuses: dict[str, int]) -> None:
        self._admin = admin
        self._folder = folder
        self.statuses = statuses

    def lines(self, profile: str, file: str = "load.jsonl") -> list[dict[str, Any]]:
        return lines_of(self._folder / profile / file)

    def total(self, profile: str, name: str) -> int:
        return sum(int(line[name]) for line in self.lines(profile))

    def asked(self, prefix: str) -> dict[str, int]:
        with urllib.request.urlopen(f"{self._admin}/requests?path_prefix={prefix}&limit=1000", timeout=5) as answer:
            document = json.load(answer)
        return dict(document["counts"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """After all loads have run, at the same time."""
    folder, router = tmp_path_factory.mktemp("loads"), ScriptedRouter(SITE, ttl=2)
    port, admin = free_port(SITE), free_port(SITE)
    url = f"http://{SITE}:{admin}"
    with running("origin", "--node-id", "o", "--listen", f"{SITE}:{port}", "--admin", f"{SITE}:{admin}"):
        wait_ready(f"{url}/readyz")
        dns = Address("127.16.1.53", router.port)
        statuses = {}
        with ExitStack() as stack:
            runs = {}
            for profile, wanted in LOADS.items():
                output = folder / profile / "load.jsonl"
                plan = LoadPlan(dns, "d1.cdn.localhost", port, POPULATIONS, output, intensity=wanted)
                runs[profile] = stack.enter_context(LoadRun(profile, plan, SECONDS, USERS, folder / profile))
            for profile, run in runs.items():
                statuses[profile] = run.wait()
        yield Site(url, folder, statuses)
    router.close()


@pytest.mark.slow
@pytest.mark.parametrize("profile", LOADS)
def test_each_load_runs_beside_the_others_without_a_failure(site: Site, profile: str) -> None:
    assert site.lines(profile, "failures.jsonl") == []
    assert site.statuses[profile] == 0
    assert {line["profile"] for line in site.lines(profile)} == {profile}
    assert {line["region"] for line in site.lines(profile)} == {"eu", "us"}
    assert site.total(profile, "requests") >= USERS


@pytest.mark.slow
def test_users_with_a_rate_ask_no_more_than_it_says(site: Site) -> None:
    """That it is no less is arithmetic (test_schedule.py): here a busy machine may be slow."""
    assert site.total("objects", "requests") <= 40 * (SECONDS + 1)
    asked = site.asked("/download/item-")
    assert len(asked) > 5, "one of many objects"


@pytest.mark.slow
def test_stages_bring_users_and_take_them_away_of_each_population_its_share(site: Site) -> None:
    users: dict[float, Counter[str]] = {}
    for line in site.lines("flash-crowd"):
        users.setdefault(line["monotonic_ns"], Counter())[line["region"]] += line["users"]
    seen = [dict(each) for _, each in sorted(users.items())]
    assert {"eu": 8, "us": 4} in seen
    assert seen.index({"eu": 2, "us": 1}) < seen.index({"eu": 8, "us": 4})
    assert {"eu": 2, "us": 1} in seen[seen.index({"eu": 8, "us": 4}) :]
    assert site.asked("/echo/news").keys() == {"/echo/news"}


@pytest.mark.slow
def test_a_busting_query_string_is_never_the_same(site: Site) -> None:
    with urllib.request.urlopen(f"{site._admin}/requests?path_prefix=/echo/busted-&limit=1000", timeout=5) as answer:
        targets = [each["target"] for each in json.load(answer)["requests"]]
    busting = [target for target in targets if "&cb=" in target]
    assert len(targets) / 2 < len(busting) == len(set(busting)) < len(targets)


@pytest.mark.slow
def test_slow_readers_hold_each_connection_and_get_all_of_it(site: Site) -> None:
    requests = site.total("slow-readers", "requests")
    assert requests <= USERS * SECONDS
    assert site.total("slow-readers", "bytes") == requests * 9 * 1024 * 1024
    assert min(line["latency_ms"]["p50"] for line in site.lines("slow-readers") if line["requests"]) > 900


@pytest.mark.slow
def test_what_was_seen_is_asked_for_again_with_its_etag(site: Site) -> None:
    with urllib.request.urlopen(f"{site._admin}/requests?path_prefix=/pages/&limit=1000", timeout=5) as answer:
        statuses = Counter(each["status"] for each in json.load(answer)["requests"])
    assert statuses[304] > statuses[200] > 0
    assert set(statuses) == {200, 304}


SEQUENCES = """
import json, sys
from types import SimpleNamespace
from locust.env import Environment
from loadtests.catalogue import read_options
from loadtests.connection import Response
from loadtests.intensity import Intensity
from loadtests.plan import Address, LoadPlan
from loadtests.profiles.objects import ObjectsUser
from loadtests.seats import Seats
from loadtests.workload import Population

def paths(name, seed):
    populations = (Population("eu", "10.2.0.0/16", 2), Population("us", "10.1.0.0/16", 1))
    plan = LoadPlan(Address("127.0.0.1", 53), "d", 80, populations, intensity=Intensity(name=name, seed=seed))
    environment = Environment(user_classes=[ObjectsUser])
    environment.load_session = SimpleNamespace(plan=plan, seats=Seats(plan, 0, 0.0))
    environment.load_options = read_options("objects", {})
    environment.request_history = None
    asked = {}
    for _ in range(3):
        user = ObjectsUser(environment)
        of_user = asked.setdefault(user._seat.name, [user.viewer.client_address])
        user.fetch = lambda request, *_: of_user.append(request.path)
        for _ in range(20):
            user.ask()
    return asked

print(json.dumps([paths(name, seed) for name, seed in json.loads(sys.argv[1])]))
"""


def test_two_runs_with_one_seed_ask_the_same_of_the_same_viewer() -> None:
    """Twice in another process, whose hashes are others."""

    def sequences() -> list[dict[str, list[str]]]:
        wanted = json.dumps([["load", 7], ["load", 8], ["other", 7], ["load", None]])
        command = [sys.executable, "-c", SEQUENCES, wanted]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
        return list(json.loads(done.stdout))

    first = sequences()
    assert sequences() == first
    assert set(first[0]) == {"load/eu/0", "load/us/1", "load/eu/2"}
    assert len({tuple(asked) for run in first for asked in run.values()}) == 12, (
        "different viewers, seeds and names differ"
    )


@pytest.mark.parametrize(
    ("profile", "wanted", "says"),
    [
        ("video", Intensity(rate=5), "profile video takes no rate"),
        ("objects", Intensity(options={"n": 1}), "unknown: n"),
    ],
)
def test_a_plan_that_its_profile_cannot_have_is_refused(
    tmp_path: Path, profile: str, wanted: Intensity, says: str
) -> None:
    plan = LoadPlan(Address("127.0.0.1", 53), "d", 80, POPULATIONS, intensity=wanted)
    with pytest.raises(LoadError, match=says):
        LoadRun(profile, plan, 5, 5, tmp_path)
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json(), encoding="utf-8")
    command = [sys.executable, "-m", "locust", "-f", f"loadtests/{profile}.py", "--headless", "--load-plan", str(path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert says.encode() in ended.stderr
    assert b"Traceback" not in ended.stderr
