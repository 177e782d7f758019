"""Reading scenarios: what is wrong is told all at once, each with its line and key, and nothing but a UsageError ever comes of a file."""

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.checkers.verdict import Outcome
from lab.errors import UsageError
from lab.experiments.chaos.play import check_experiment
from lab.run_options import RunOptions
from lab.scenarios.plan import plan_lines
from lab.scenarios.reader import find_scenario, parse_scenario, read_scenario
from lab.scenarios.shipped import shipped_scenarios
from lab.scenarios.steps import Due, Inject, Invalidate, Put, Wait
from lab.topology.problems import TopologyError
from tests.depth import examples
from tests.unit.lab.scenarios.scenario_texts import SOURCE, action, document, dumped, probe, scenario

MISTAKES = """\
title: Many mistakes
description: [not, text]
controls: []
tags: [one, {two: three}]
colour: red
extensions:
  - name: other
    whatever: this is somebody else's
  - name: cdnlab
    topolgy: default
    duration: 0.1s
    expect: vaild
    seed: -1
    distributions:
      - name: site
        origin: origin-1
        chache: disabled
        cache: {min_ttl: soon, query_strings: maybe}
        failover: {to: origin-2, statuses: [200]}
        error_caching: {404: forever}
    load:
      - {profile: mixd, users: none}
    watch: {every: 1s}
    checkers: {freshness: 3}
    gates: [hit_ratio is good, speed >= 1]
    stop:
      - {when: error_ratio > lots}
steady-state-hypothesis:
  title: all is well
  probes:
    - {type: probe, name: p, tolerance: true, provider: {type: python, module: lab.experiments.chaos.probes, func: holds, arguments: {condition: speed > 1}}}
    - {type: probe, name: q, tolerance: true, provider: {type: python, module: lab.experiments.chaos.probes, func: figure, arguments: {name: failure}}}
method:
  - {type: action, name: a, provider: {type: python, module: lab.experiments.chaos.actions, func: injekt}}
  - {type: action, name: b, provider: {type: python, module: lab.experiments.chaos.actions, func: inject, arguments: {fault: kil, target: x}}}
  - {type: action, name: c, provider: {type: python, module: lab.experiments.chaos.actions, func: inject, arguments: {fault: kill, target: x, lease: long}}}
  - {type: action, name: d, provider: {type: python, module: lab.experiments.chaos.actions, func: inject, arguments: {fault: http-delay, target: x, parameters: {x: 1s}}}}
  - {type: action, name: e, provider: {type: python, module: lab.experiments.chaos.actions, func: wait, arguments: {at: noon, when: hit_ratio}}}
  - {type: action, name: f, provider: {type: python, module: lab.experiments.chaos.actions, func: put, arguments: {path: /images/1.svg, size_bytes: 1}}}
  - {type: action, name: g, provider: {type: python, module: lab.experiments.chaos.actions, func: invalidate, arguments: {path: /x}}}
  - {name: h}
"""
TOLD = {
    2: ["description must be text, not a list"],
    3: ["there is no control of the lab"],
    4: ["each of tags must be text"],
    5: ["unknown key 'colour' in the scenario"],
    10: ["unknown key 'topolgy' in the extension cdnlab; did you mean 'topology'?"],
    11: ["duration must be from 1s"],
    12: ["expect must be one of valid, invalid, unknown, not text (vaild); did you mean 'valid'?"],
    13: ["seed must be from 0"],
    17: ["unknown key 'chache' in each of distributions; did you mean 'cache'?"],
    18: ["min_ttl: 'soon' is no duration", "query_strings must be true or false"],
    19: ["statuses may be", "not 200"],
    20: ["404 must be a whole number"],
    22: ["profile must be one of", "did you mean 'mixed'?", "users must be a whole number"],
    23: ["path is missing in watch"],
    24: ["checkers: no checker 'freshness'"],
    25: ["'hit_ratio is good' is no condition", "no figure 'speed'"],
    27: ["when: 'error_ratio > lots' is no condition"],
    31: ["condition: no figure 'speed'"],
    32: ["name must be one of", "did you mean 'failures'?"],
    34: ["func must be one of", "did you mean 'inject'?"],
    35: ["kil: ", "kill"],
    36: ["'long' is no duration"],
    37: ["no parameter 'x'"],
    38: ["at: 'noon' is no duration", "when: 'hit_ratio' is no condition"],
    39: ["path must begin with /bucket/NAME/, not '/images/1.svg'", "size_bytes must be from 64"],
    40: ["paths must be a list of at least one path", "unknown key 'path'", "did you mean 'paths'?"],
    41: ["provider is missing in h"],
}


def test_every_mistake_is_told_at_once_with_its_line_and_key() -> None:
    with pytest.raises(TopologyError) as caught:
        parse_scenario(MISTAKES, SOURCE)
    told: dict[int, str] = {}
    for problem in caught.value.problems:
        told[problem.line] = f"{told.get(problem.line, '')} {problem.message}"
    for line, pieces in TOLD.items():
        for piece in pieces:
            assert piece in told.get(line, ""), f"line {line}: {told.get(line)}"
    assert sorted(told) == sorted(TOLD), {line: told[line] for line in set(told) - set(TOLD)}
    assert str(caught.value).startswith("mine.yaml:2: description")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "mine.yaml:1: the file is empty"),
        ("a: [", "mine.yaml:2: not YAML"),
        ("- a\n- b", "mine.yaml:1: the scenario must be `key: value` pairs, not a list"),
        ("title: x\ntitle: y\n", "mine.yaml:2: key 'title' is there twice"),
        ("title: x\ndescription: y\n", "there is no extension cdnlab"),
        ("a: &a [*a]", "mine.yaml:1: more than 40 levels deep, or an alias inside of what it stands for"),
        ("? [a, b]\n: c", "mine.yaml:1: a key must be text"),
        ("!!python/object/apply:os.getcwd []", "mine.yaml:1"),
        ("a: " + "[" * 400_000 + "]" * 400_000, "mine.yaml:1: nested more than 40 levels deep"),
        ("a: &a [1, 1, 1]\nb: &b [*a, *a, *a]\nc: [*b" + ", *b" * 20_000 + "]", "mine.yaml:1: more than 100000 values"),
        ("a: !!int x", "mine.yaml:1: 'x' is not of the type int"),
        ("a: 2026-01-01", "mine.yaml:1: '2026-01-01' is of the type timestamp: write it in quotes if it is text"),
        ("a: !!omap [{b: c}]", "is not for scenarios"),
        ("\x00", "mine.yaml:1: not YAML"),
    ],
)
def test_what_is_no_scenario(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=r".") as caught:
        parse_scenario(text, SOURCE)
    assert told in str(caught.value)


def test_what_is_said_is_what_is_meant() -> None:
    read = scenario(
        action("put", path="/bucket/a/b.txt", at="1m30s"),
        action("inject", fault="kill", target="role:edge/1", lease="9s", at=5, background=True),
        action("invalidate", paths=["/bucket/*"], when="hit_ratio >= 80 %", within="2s"),
        action("wait", at=100.5),
        probes=(probe("holds", condition="p95(eu-central-1) < 1 s", within=3),),
        duration="2m",
        gates=["p99 <= 400 ms"],
        stop=[{"when": "error_ratio > 50 %", "lasting": "5s"}],
        checkers={"freshness_after_receipts": {}, "latency": {"p99_ms": 1000}},
        expect="invalid",
        seed=7,
    )
    put, inject, invalidate, wait = (named.step for named in read.steps)
    assert isinstance(put, Put) and put.due.at_seconds == 90
    assert isinstance(inject, Inject) and (inject.lease_seconds, inject.due.at_seconds) == (9, 5)
    assert [named.is_background for named in read.steps] == [False, True, False, False]
    assert isinstance(invalidate, Invalidate) and invalidate.due.condition is not None
    assert (invalidate.due.condition.bound, invalidate.due.within_seconds) == (0.8, 2)
    assert isinstance(wait, Wait) and wait.due.at_seconds == 100.5
    assert (read.name, read.duration_seconds, read.expects, read.seed) == ("mine", 120, Outcome.INVALID, 7)
    assert read.checkers == {"freshness_after_receipts": {}, "latency": {"p99_ms": 1000}}
    assert str(read.gates[0]) == "p99 <= 400 ms" and read.gates[0].bound == pytest.approx(0.4)
    assert str(read.stops[0]) == "error_ratio > 50 % for 5 s"
    check_experiment(read.document)


def test_a_plan_has_a_line_for_each_thing_and_scales_times() -> None:
    read = scenario(
        action("wait", at="10s", name="early"),
        action("inject", fault="kill", target="role:edge/1", when="hit_ratio > 50 %", background=True, name="late"),
        duration="20s",
        gates=["failures == 0"],
        checkers={"freshness_after_receipts": {}},
        stop=[{"when": "failures > 100"}],
        load=[
            {"profile": "video", "regions": ["eu-central-1"], "users": 3},
            {"name": "more", "profile": "api", "rate": 25},
        ],
    )
    lines = plan_lines(read, RunOptions(Path("s"), duration_seconds=40).duration_seconds)
    assert lines[:4] == ["Mine", "", "Nothing happens.", ""]
    assert [" ".join(line.split()) for line in lines[4:]] == [
        "topology default, 40 s of viewers, expected to be valid",
        "load video: video, 3 users, eu-central-1",
        "load more: api, 25 requests/s, all regions",
        "20 s: early: waits",
        "then when hit_ratio > 50 % (within 30 s): late: kill at role:edge/1 for 60 s (in the background)",
        "stops when failures > 100 for 3 s",
        "checks freshness_after_receipts",
        "gate failures == 0",
    ]


def test_a_scenario_is_a_file_or_ships(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no scenario of that name ships: there are .*quickstart"):
        find_scenario("quickstrat")
    for name in ("nothing.yaml", str(tmp_path / "nothing")):
        with pytest.raises(UsageError, match="No such file"):
            find_scenario(name)
    with pytest.raises(UsageError, match="Is a directory"):
        read_scenario(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("title: caf\u00e9".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        read_scenario(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (1 << 20) + b"##")
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_scenario(tmp_path / "large.yaml")


def test_a_topology_is_looked_for_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own")
    (tmp_path / "mine.yaml").write_text(dumped(document(topology="own.yaml")))
    assert read_scenario(tmp_path / "mine.yaml").topology == str(tmp_path / "own.yaml")


@pytest.mark.parametrize("name", shipped_scenarios())
def test_what_ships_is_a_scenario_and_an_experiment(name: str) -> None:
    read = find_scenario(name)
    assert read.name == name and read.title and read.description.strip() and read.tags is not None
    check_experiment(read.document)


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**13)
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """To everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before, *(path for key, each in inner for path in paths_of(each, (*before, key)))]


WHOLE = document(
    *(
        action("inject", fault="http-delay", target="role:edge", lease="5s", parameters={"by": "1s"}, at="1s"),
        action("heal", fault="kill"),
        action("restart", target="role:edge", pause="1s", when="hit_ratio > 0.5", within="3s"),
        action("put", path="/bucket/a/b", origins=["origin-1"], size_bytes=64, cache_control="no-store"),
        action("invalidate", paths=["/*"], distribution="site", awaits_receipt=False, receipt_within="3s", times=2),
        action("configure", config={"Comment": "x"}, distribution="site", awaits_deployed=False),
        action("move_time", by="1h"),
        action("wait", background=True),
    ),
    probes=(
        probe("figure", name="p95", place="eu"),
        probe("holds", condition="p95 < 1 s"),
        probe("lab_is_whole", within=3),
    ),
    distributions=[
        {
            "name": "site",
            "origin": "origin-1",
            "cache": {"min_ttl": 0, "cookies": ["a"], "headers": ["B"], "query_strings": True},
            "behaviors": [{"path": "/x", "cache": "disabled"}],
            "failover": {"to": "origin-2", "statuses": [500]},
            "timeouts": {"connect": "3s", "attempts": 2, "response": 5},
            "error_caching": {"404": 5},
            "semantics": "rfc9111",
            "strict_invalidation": True,
            "config": {"Comment": "y"},
        }
    ],
    load=[{"name": "l", "profile": "api", "regions": ["eu"], "users": 3, "rate": 2.5, "begins": "1s", "lasts": "5s"}],
    watch={"path": "/x", "every": "1s"},
    stop=[{"when": "failures > 3", "lasting": "1s"}],
    gates=["failures == 0"],
    checkers={"errors": {"budget": 1}},
)
PATHS = paths_of(WHOLE)


def changed(path: tuple[Any, ...], odd: Any) -> Any:
    """The whole document with something else at one place."""
    if not path:
        return odd
    made = copy.deepcopy(WHOLE)
    inner: Any = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    return made


def test_the_document_that_is_changed_below_is_right_as_it_is() -> None:
    assert len(parse_scenario(dumped(WHOLE), SOURCE).steps) == 8


@settings(max_examples=examples(60))
@given(path=st.sampled_from(PATHS), odd=ODD)
def test_nothing_odd_at_any_place_of_a_file_makes_it_fall_over(path: tuple[Any, ...], odd: Any) -> None:
    with contextlib.suppress(UsageError):
        read = parse_scenario(dumped(changed(path, odd)), SOURCE)
        check_experiment(read.document)
        plan_lines(read, None)


TAGGED = (
    "!foo x",
    "!!int x",
    "!!int ''",
    "!!timestamp 99",
    "!!binary \u00e9",
    "!!set {a, b}",
    "!!pairs [a]",
    "{<<: 3}",
    "!!map [a]",
    "-.inf",
    "=",
    "1:30",
)


@pytest.mark.parametrize("tagged", TAGGED)
def test_nothing_of_an_odd_type_at_any_place_does(tagged: str) -> None:
    for path in PATHS[1 :: len(TAGGED)]:
        text = dumped(changed(path, "PLACE")).replace("PLACE", tagged)
        with contextlib.suppress(UsageError):
            check_experiment(parse_scenario(text, SOURCE).document)


@given(text=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Z", "Cc"]), max_size=60))
def test_no_text_at_all_makes_it_fall_over(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_scenario(text, SOURCE)


@pytest.mark.parametrize(("times", "is_right"), [(1, True), (40, True), (1000, True), (0, False), (1001, False)])
def test_an_invalidation_may_be_issued_many_times_and_not_without_end(times: int, is_right: bool) -> None:
    text = dumped(document(action("invalidate", paths=["/*"], times=times)))
    if not is_right:
        with pytest.raises(TopologyError, match="times"):
            parse_scenario(text, Path("s.yaml"))
        return
    (step,) = parse_scenario(text, Path("s.yaml")).steps
    assert step.step == Invalidate(Due(), ("/*",), times=times)
    assert (f"{times} times" in str(step.step)) is (times > 1)
