"""Prometheus of the compose lab: its configuration, its rules, what it scrapes, and the names that nodes give their metrics.

promtool runs where it is installed, in the Prometheus container.
"""

import json
import os
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.docker.compose_lab import ROOT, ComposeLab, Distribution, run_in, wait_until
from tests.docker.viewers import Viewer

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

ADMIN_PORTS = {"control-plane": 4568}
NODES = (
    "control-plane",
    "dns-1",
    "origin-1",
    "edge-iad89-p1-1",
    "regional-us-east-1-1",
)
"""One of each program and role: the others run the same code."""

FETCH = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


def query(lab: ComposeLab, expression: str) -> list[dict[str, Any]]:
    """Samples of an instant query on the published port."""
    parameters = urllib.parse.urlencode({"query": expression})
    url = f"http://{lab.published('prometheus', '9090/tcp')}/api/v1/query?{parameters}"
    with urllib.request.urlopen(url, timeout=10) as response:
        found: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return found


def test_configuration_and_rules_are_valid(lab: ComposeLab) -> None:
    assert "SUCCESS" in run_in(
        lab.container("prometheus"), "promtool", "check", "config", "/etc/prometheus/prometheus.yml"
    )


def test_rules_compute_what_they_say(lab: ComposeLab) -> None:
    """deploy/prometheus/rules_test.yml, in a container of its own, for the lab's has no use for the file."""
    output = lab.engine.containers.run(
        "cdnlab-prometheus",
        ["promtool", "test", "rules", "/rules/rules_test.yml"],
        volumes={str(ROOT / "deploy/prometheus"): {"bind": "/rules", "mode": "ro"}},
        remove=True,
        network_mode="none",
    )
    assert b"SUCCESS" in output


@pytest.mark.parametrize("node", NODES)
def test_names_of_metrics_follow_the_conventions(lab: ComposeLab, distribution: Distribution, node: str) -> None:
    prometheus = lab.container("prometheus")
    metrics = run_in(prometheus, "python3", "-c", FETCH, f"http://{node}:{ADMIN_PORTS.get(node, 9100)}/metrics")
    assert "cdn_" in metrics
    lab.compose("exec", "-T", "prometheus", "promtool", "check", "metrics", standard_input=metrics)


def test_every_node_is_scraped_with_its_place(lab: ComposeLab) -> None:
    wait_until(lambda: len(query(lab, "up == 1")) == 12, 30, "12 nodes up")
    places = {
        node: {label: container.labels[f"cdnlab.{label}"] for label in ("node", "role", "region", "pop")}
        for node, container in lab.nodes().items()
    }
    for sample in query(lab, "up"):
        metric = sample["metric"]
        assert {
            "node": metric["node"],
            "role": metric["role"],
            "region": metric["region"],
            "pop": metric.get("pop", ""),
        } == (places[metric["node"]])


def test_the_image_has_edges_compiled_ahead_of_time(lab: ComposeLab) -> None:
    """Decision 13; unless the image was asked to be without."""
    expected = "0" if os.environ.get("CDNLAB_EDGE_CODE") == "source" else "1"
    wait_until(lambda: len(query(lab, "cdn_edge_compiled")) == 8, 30, "8 edges and regional caches scraped")

    assert {sample["value"][1] for sample in query(lab, "cdn_edge_compiled")} == {expected}


def test_traffic_shows_in_the_hit_ratios(
    lab: ComposeLab, viewers: dict[str, Viewer], distribution: Distribution
) -> None:
    def is_recorded() -> bool:
        viewers["us-east-1"].get(distribution.domain_name, "/index.html")
        ratios = {sample["metric"]["pop"]: float(sample["value"][1]) for sample in query(lab, "cdn:hit_ratio:rate1m")}
        return 0 < ratios.get("IAD89-P1", 0) <= 1

    wait_until(is_recorded, 30, "a hit ratio of IAD89-P1")
    (offload,) = query(lab, "cdn:origin_offload:rate1m")
    assert 0 < float(offload["value"][1]) <= 1
