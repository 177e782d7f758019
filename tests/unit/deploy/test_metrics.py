"""Prometheus and Grafana ask for what nodes export: names from docs/contracts.md, places from deploy/compose.yaml.

Whether the rules compute what they should is shown by `promtool test rules` in tests/docker.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy/prometheus"
GRAFANA = ROOT / "deploy/grafana"
CONFIGURATION: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards/cdnlab.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def documented() -> dict[str, set[str]]:
    """Series name -> labels, from the table of metrics in docs/contracts.md; a histogram has its three series."""
    section = (ROOT / "docs/contracts.md").read_text().split("## Metrics")[1].split("\n## ")[0]
    series: dict[str, set[str]] = {}
    for names, kind, labels in re.findall(r"^\| (`cdn_[^|]*) \| ([^|]*) \|([^|]*)\|$", section, re.MULTILINE):
        known = set(re.findall(r"[a-z_]+", re.sub(r"\([^)]*\)", "", labels)))
        for name in re.findall(r"`(cdn_\w+)`", names):
            if kind.startswith("histogram"):
                series |= {f"{name}_bucket": {*known, "le"}, f"{name}_sum": known, f"{name}_count": known}
            else:
                series[name] = known
    return series


def recorded() -> set[str]:
    return {rule["record"] for rule in RULES}


def asked_for(expression: str) -> set[str]:
    return set(re.findall(r"\bcdn[_:][a-z0-9_:]+", expression))


def test_the_table_of_metrics_was_found() -> None:
    assert {"result", "reason"} == documented()["cdn_requests_total"]
    assert "cdn_request_duration_seconds_bucket" in documented()
    assert "cdn_log_lag_entries" in documented()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["record"])
def test_a_rule_uses_documented_metrics(rule: dict[str, str]) -> None:
    assert asked_for(rule["expr"])
    assert asked_for(rule["expr"]) <= set(documented())


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_uses_metrics_that_exist(panel: dict[str, Any]) -> None:
    assert panel["description"]
    for target in panel["targets"]:
        names = asked_for(target["expr"])
        assert names
        assert names <= set(documented()) | recorded()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_groups_by_labels_that_its_metric_has(panel: dict[str, Any]) -> None:
    places = {"node", "role", "region", "pop"}
    for target in panel["targets"]:
        names = asked_for(target["expr"])
        if names & recorded():
            continue
        known = set.intersection(*(documented()[name] for name in names)) | places
        grouped = {label for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(", ")}
        assert grouped <= known
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known


def test_the_dashboard_has_the_provisioned_source_and_no_panel_twice() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    used = {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identifiers) == len(set(identifiers))


def test_the_dashboard_shows_what_it_is_for() -> None:
    expressions = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    wanted = (
        "cdn_requests_total",
        "cdn:tier_hit_ratio:rate1m",
        "cdn:hit_ratio:rate1m",
        "histogram_quantile(0.99",
        "cdn_upstream_errors_total",
        "cdn_applied_index",
        "cdn_log_lag_entries",
        "cdn_lease_held",
    )
    assert all(name in expressions for name in wanted)


def test_dashboards_are_where_the_provider_looks() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/cdnlab.yaml").read_text())["providers"][0]
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["volumes"]


def test_prometheus_scrapes_every_node_with_its_place() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    expected = {
        f"{name}:{4568 if name == 'control-plane' else 9100}": {
            label: value
            for label in ("node", "role", "region", "pop")
            if (value := service["labels"][f"cdnlab.{label}"])
        }
        for name, service in services.items()
        if service["labels"].get("cdnlab.node", "wan") != "wan"  # the relays have counters of their own (docs/wan.md)
    }
    (job,) = CONFIGURATION["scrape_configs"]
    scraped = {target: group["labels"] for group in job["static_configs"] for target in group["targets"]}
    assert scraped == expected
