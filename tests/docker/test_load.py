"""Locust in containers: one master, one worker in each place, driven through its own page's API on the published port."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker.compose_lab import ComposeLab, run_in, wait_until
from tests.docker.viewers import PLACES

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

SERVICES = ("load-plan", "load-master", *(f"load-{place}" for place in PLACES))


@pytest.fixture(scope="module")
def page(lab: ComposeLab) -> Iterator[str]:
    """The address of Locust's page. Gone after the module, so that what follows has the machine for itself."""
    try:
        arguments = ("up", "--no-build", "--no-recreate", "--wait", "--wait-timeout", "90")
        lab.compose("--profile", "load", *arguments, *SERVICES[1:])
    except BaseException:
        print(lab.compose("--profile", "load", "logs", "--no-color", *SERVICES))
        raise
    yield f"http://{lab.published('load-master', '8089/tcp')}"
    lab.compose("--profile", "load", "rm", "--stop", "--force", *SERVICES)


def read_json(url: str, **form: object) -> Any:
    body = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, body, timeout=10) as response:
        return json.load(response)


def test_viewers_of_every_place_load_the_lab_without_failures(lab: ComposeLab, page: str) -> None:
    wait_until(lambda: read_json(f"{page}/stats/requests")["worker_count"] == len(PLACES), 30, "3 workers")
    assert read_json(f"{page}/swarm", user_count=12, spawn_rate=12)["success"]
    wait_until(lambda: total(page)["num_requests"] >= 200, 60, "200 requests")
    assert read_json(f"{page}/stop", reason="the test has seen enough")["success"]

    assert total(page)["num_failures"] == 0
    # The master writes a second when no worker's report about it is due any more.
    wait_until(lambda: regions_recorded(lab) == set(PLACES), 30, "load.jsonl has all places")


def regions_recorded(lab: ComposeLab) -> set[str]:
    lines = run_in(lab.container("load-master"), "cat", "/var/lib/cdnlab/load.jsonl").splitlines()
    return {second["region"] for second in map(json.loads, lines) if second["requests"]}


def total(page: str) -> dict[str, Any]:
    """Locust's own sum over all rows."""
    rows: list[dict[str, Any]] = read_json(f"{page}/stats/requests")["stats"]
    return next(row for row in rows if row["name"] == "Aggregated")
