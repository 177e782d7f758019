"""Two labs with one seed choose the same, with every program of theirs, and one with another seed does not (docs/repeating.md)."""

import json
from dataclasses import replace
from pathlib import Path

from lab.clients.http_client import ask, split_address
from lab.clients.management_api import CACHING_OPTIMIZED, ManagementApi, OriginAddress, SiteConfig
from lab.cluster.processes import ProcessCluster
from lab.experiments.load import plan_for
from tests import warm_start
from tests.integration.lab_harness import small_topology

ORIGIN, CONTROL_PLANE = "origin-1", "control-plane"
JSON = [("content-type", "application/json")]


def chosen(folder: Path, seed: int) -> dict[str, object]:
    """What a lab of this seed chooses: names of distributions, which of 100 requests fail, which calls are refused, what viewers follow."""
    topology = replace(small_topology(), seed=seed)
    with ProcessCluster.up(topology, folder, launch=warm_start.launch) as lab, ManagementApi(lab.status().api) as api:
        origin = lab.addresses(ORIGIN)
        site = SiteConfig("one", OriginAddress(*split_address(origin.http)), CACHING_OPTIMIZED)
        created = [api.create_distribution(replace(site, comment=comment)) for comment in ("one", "two")]
        plan = plan_for(lab, None)
        behavior = {"path_prefix": "/echo/", "status": 503, "probability": 0.5}
        posted = ask(origin.admin, "/behaviors", method="POST", headers=JSON, body=json.dumps(behavior).encode())
        assert posted.status == 201
        statuses = [ask(origin.http, "/echo/x").status for _ in range(100)]
        fault = {"kind": "api-error", "parameters": {"probability": 0.5}, "lease_seconds": 60}
        admin = lab.addresses(CONTROL_PLANE).admin
        assert ask(admin, "/faults", method="POST", headers=JSON, body=json.dumps(fault).encode()).status == 201
        api_address = lab.addresses(CONTROL_PLANE).http
        refused = [ask(api_address, "/2020-05-31/distribution").status == 503 for _ in range(40)]
        assert 20 < statuses.count(503) < 80 and 5 < sum(refused) < 35
        return {
            "names": [(each.id, each.domain_name) for each in created],
            "statuses": statuses,
            "refused": refused,
            "plan": (plan.intensity.seed, plan.domain_name),
        }


def test_a_lab_repeats_with_its_seed(tmp_path: Path) -> None:
    seven, again, eight = (chosen(tmp_path / name, seed) for name, seed in (("a", 7), ("b", 7), ("c", 8)))
    assert seven == again
    assert all(seven[what] != eight[what] for what in seven)
