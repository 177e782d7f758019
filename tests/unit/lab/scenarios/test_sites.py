"""Distributions of scenarios, judged by the service's own model as botocore has it: it knows neither site.py nor our control plane."""

from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape, Shape, StructureShape
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.clients.management_api import Distribution
from lab.experiments.run_sites import create_sites
from lab.scenarios.reader import find_scenario
from lab.scenarios.shipped import shipped_scenarios
from lab.scenarios.site import CACHING_DISABLED, FAILOVER_STATUSES, Site
from lab.topology.problems import TopologyError
from tests.depth import examples
from tests.unit.lab.scenarios.scenario_texts import scenario

MODEL = botocore.session.Session().get_service_model("cloudfront")
ORIGINS = {"origin-1": "10.77.1.2:8080", "origin-2": "10.77.1.3:8081"}


def problems(value: Any, shape: Shape, place: str = "") -> Iterator[str]:
    """What botocore's own validation leaves to the service: enumerations, and quantities that are not those of their items."""
    if isinstance(shape, StructureShape):
        if "Quantity" in shape.members and value["Quantity"] != len(value.get("Items", [])):
            yield f"{place}: Quantity {value['Quantity']} of {value.get('Items')}"
        for name, each in value.items():
            yield from problems(each, shape.members[name], f"{place}.{name}")
    elif isinstance(shape, ListShape):
        for each in value:
            yield from problems(each, shape.member, f"{place}[]")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{place}: {value!r} is none of {shape.enum}"


def check(value: Mapping[str, Any], name: str) -> None:
    shape = MODEL.shape_for(name)
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
    assert list(problems(value, shape)) == []


def check_site(site: Site) -> dict[str, Any]:
    policies = {rule.name: f"policy-{number}" for number, rule in enumerate(site.rules) if rule.name}
    for rule in site.rules:
        if rule.name:
            check(rule.policy("a-policy"), "CachePolicyConfig")
    config = site.to_api("reference", ORIGINS, policies)
    tags = {"Items": [{"Key": key, "Value": value} for key, value in site.tags.items()]}
    check({"DistributionConfig": config, "Tags": tags}, "DistributionConfigWithTags")
    groups = config.get("OriginGroups", {"Items": []})["Items"]
    targets = {each["Id"] for each in (*config["Origins"]["Items"], *groups)}
    behaviors = [config["DefaultCacheBehavior"], *config["CacheBehaviors"].get("Items", [])]
    assert {each["TargetOriginId"] for each in behaviors} <= targets
    return config


@pytest.mark.parametrize("name", shipped_scenarios())
def test_what_ships_is_what_the_service_takes(name: str) -> None:
    for site in find_scenario(name).sites:
        check_site(site)


SECONDS = st.integers(0, 31_536_000)
NAMES = st.lists(st.sampled_from(["session", "language", "x-a"]), unique=True, max_size=2)
POLICY = st.fixed_dictionaries(
    {},
    optional={
        "min_ttl": SECONDS, "default_ttl": SECONDS, "max_ttl": SECONDS, "query_strings": st.booleans(), "cookies": NAMES, "headers": NAMES,
    },
)  # fmt: skip
CACHE = st.one_of(st.sampled_from(["optimized", "disabled"]), POLICY)
DISTRIBUTION = st.fixed_dictionaries(
    {"name": st.just("site"), "origin": st.just("origin-1")},
    optional={
        "cache": CACHE,
        "behaviors": st.lists(
            st.fixed_dictionaries({"path": st.sampled_from(["/a/*", "*.js"])}, optional={"cache": CACHE}), max_size=2
        ),
        "failover": st.fixed_dictionaries(
            {"to": st.just("origin-2")},
            optional={"statuses": st.lists(st.sampled_from(FAILOVER_STATUSES), min_size=1, unique=True)},
        ),
        "timeouts": st.fixed_dictionaries(
            {}, optional={"connect": st.integers(1, 10), "attempts": st.integers(1, 3), "response": st.integers(1, 120)}
        ),
        "error_caching": st.dictionaries(st.sampled_from([404, 503]), SECONDS),
        "semantics": st.sampled_from(["cloudfront", "rfc9111"]),
        "strict_invalidation": st.booleans(),
        "config": st.fixed_dictionaries({}, optional={"HttpVersion": st.just("http2"), "PriceClass": st.just("PriceClass_All")}),
    },
)  # fmt: skip


@settings(max_examples=examples(30))
@given(written=DISTRIBUTION)
def test_whatever_can_be_written_is_what_the_service_takes_and_says_the_same(written: dict[str, Any]) -> None:
    config = check_site(scenario(distributions=[written]).main_site)
    timeouts = written.get("timeouts", {})
    for origin in config["Origins"]["Items"]:
        assert origin["ConnectionTimeout"] == timeouts.get("connect", 10)
        assert origin["ConnectionAttempts"] == timeouts.get("attempts", 3)
        assert origin["CustomOriginConfig"]["OriginReadTimeout"] == timeouts.get("response", 30)
        assert f"{origin['DomainName']}:{origin['CustomOriginConfig']['HTTPPort']}" == ORIGINS[origin["Id"]]
    kept = {each["ErrorCode"]: each["ErrorCachingMinTTL"] for each in config["CustomErrorResponses"].get("Items", [])}
    assert kept == written.get("error_caching", {})
    assert config.items() >= written.get("config", {}).items()
    patterns = [each["PathPattern"] for each in config["CacheBehaviors"].get("Items", [])]
    assert patterns == [each["path"] for each in written.get("behaviors", [])]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"connect": "500ms"}, "connect must be whole seconds, 1 to 10"),
        ({"connect": "11s"}, "connect must be whole seconds, 1 to 10"),
        ({"response": "1500ms"}, "response must be whole seconds, 1 to 120"),
        ({"response": 0}, "response must be whole seconds, 1 to 120"),
        ({"attempts": 4}, "attempts must be"),
    ],
)
def test_time_limits_that_the_service_does_not_take_are_mistakes_of_the_file(
    written: dict[str, Any], told: str
) -> None:
    with pytest.raises(TopologyError, match=told):
        scenario(distributions=[{"name": "site", "origin": "origin-1", "timeouts": written}])


class FakeApi:
    """Remembers what it was asked, in order; names are taken once, as at the service."""

    def __init__(self) -> None:
        self.policies: dict[str, str] = {}
        self.configs: dict[str, Mapping[str, Any]] = {}
        self.tags: dict[str, Mapping[str, str]] = {}
        self.waited: list[str] = []

    def create_cache_policy(self, policy: Mapping[str, Any]) -> str:
        assert policy["Name"] not in self.policies
        self.policies[policy["Name"]] = f"policy-{len(self.policies)}"
        return self.policies[policy["Name"]]

    def create(self, config: Mapping[str, Any], tags: Mapping[str, str]) -> Distribution:
        assert config["CallerReference"] not in {each["CallerReference"] for each in self.configs.values()}
        made = Distribution(f"E{len(self.configs)}", f"d{len(self.configs)}.cdn.localhost")
        self.configs[made.id], self.tags[made.id] = config, tags
        return made

    def wait_deployed(self, distribution_id: str) -> None:
        assert len(self.configs) == 2, "all are asked for before one is waited for"
        self.waited.append(distribution_id)


def test_policies_are_made_first_and_every_distribution_gets_everywhere() -> None:
    own = {"default_ttl": "1m"}
    behaviors = [{"path": "/a/*", "cache": {"default_ttl": "2m"}}, {"path": "/b/*", "cache": "disabled"}]
    distributions = [
        {"name": "one", "origin": "origin-1", "cache": own, "behaviors": behaviors},
        {"name": "two", "origin": "origin-2", "cache": own, "strict_invalidation": True},
    ]
    api = FakeApi()
    sites = scenario(distributions=distributions).sites
    made = create_sites(api, sites, ORIGINS)  # type: ignore[arg-type]
    assert {name: each.id for name, each in made.items()} == {"one": "E0", "two": "E1"}
    assert sorted(api.waited) == ["E0", "E1"]
    one = api.configs["E0"]
    used = [one["DefaultCacheBehavior"], *one["CacheBehaviors"]["Items"], api.configs["E1"]["DefaultCacheBehavior"]]
    assert [each["CachePolicyId"] for each in used] == ["policy-0", "policy-1", CACHING_DISABLED, "policy-2"]
    assert api.tags == {"E0": {}, "E1": {"cdnlab:strict-invalidation": "true"}}
