"""The requests of a profile as they are told beforehand, and as a real Locust sends them: user by user the same, in the same order."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.experiments.load import LoadRun
from lab.prediction.profile_viewers import requests_of, steps_of
from loadtests.catalogue import PROFILES
from loadtests.intensity import Intensity
from loadtests.plan import LoadPlan
from loadtests.request_block import NoBlockError, read_block, rows_of
from tests.integration.loadtests.load_peers import SITE, free_port, plan_of, running, wait_ready
from tests.integration.loadtests.test_viewer import ScriptedRouter

USERS, SECONDS = 6, 3
RATED = Intensity(rate=60.0, seed=11)
TAG = "same"


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    port, admin = free_port(SITE), free_port(SITE)
    with running("origin", "--node-id", "o", "--listen", f"{SITE}:{port}", "--admin", f"{SITE}:{admin}"):
        wait_ready(f"http://{SITE}:{admin}/readyz")
        yield port


@pytest.fixture
def router() -> Iterator[ScriptedRouter]:
    router = ScriptedRouter(SITE, ttl=2)
    yield router
    router.close()


def sent(plan: LoadPlan, profile: str, folder: Path) -> dict[int, list[str]]:
    """By user, as they were written down."""
    with LoadRun(profile, replace(plan, history=folder / "history"), SECONDS, USERS, folder) as run:
        assert run.wait() == 0, run.log_path.read_text(encoding="utf-8")
    rows = []
    with (folder / "history" / "requests.blocks").open("rb") as file:
        try:
            while block := read_block(file):
                rows += [row._asdict() for row in rows_of(block)]
        except NoBlockError:
            pass  # the end of what was written
    found: dict[int, list[str]] = {}
    for row in sorted(rows, key=lambda row: row["intended_ns"]):
        found.setdefault(int(row["viewer"].rpartition("-")[2].partition(".")[0]), []).append(row["path"])
    return found


def told(plan: LoadPlan, profile: str) -> dict[int, list[str]]:
    stages = PROFILES[profile].stages
    plan = plan.for_run(USERS, SECONDS, stages(USERS, SECONDS) if stages is not None else ())
    found: dict[int, list[str]] = {}
    for asked in requests_of(plan, steps_of(profile, plan.intensity.options), SECONDS + 2.0):
        found.setdefault(asked.user_number, []).append(asked.wanted.path)
        asked.answered(asked.wanted, TAG)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "profile",
    [
        "cache-busting",
        *(pytest.param(each, marks=pytest.mark.nightly) for each in ("objects", "conditional", "api", "flash-crowd")),
    ],
)
def test_each_user_asks_for_what_was_told(site: int, router: ScriptedRouter, tmp_path: Path, profile: str) -> None:
    """How many of them there are in a run depends on when Locust came to begin, so the shorter series counts."""
    plan = replace(plan_of(site, router, tmp_path / "load.jsonl", 1.0), intensity=RATED)
    in_fact, beforehand = sent(plan, profile, tmp_path), told(plan, profile)
    assert in_fact.keys() <= beforehand.keys() and len(in_fact) == USERS
    for number, paths in in_fact.items():
        assert paths == beforehand[number][: len(paths)], number
        assert len(paths) > 3
