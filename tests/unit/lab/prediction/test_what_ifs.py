"""What-ifs of a prediction: what they change, which are refused, and how they are told."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab.commands import predict
from lab.errors import UsageError
from lab.load_profiles import LoadChoice
from lab.prediction.asking import PredictionChoice, WhatIfChoice
from lab.prediction.caching_rules import RULES_OF_TRACES
from lab.prediction.network import WhatIf
from lab.prediction.simulation import Invalidation, OriginAnswers, Prediction
from lab.prediction.what_ifs import Choices, Setting, predict_trace
from lab.topology.choice import TopologyChoice
from lab.topology.model import Topology
from lab.topology.reader import find_topology
from loadtests.traces.trace_request import TraceRequest

SVG = "{http://www.w3.org/2000/svg}"


@cache
def default_topology() -> Topology:
    return find_topology(TopologyChoice("default"))


def series(count: int = 600, lifetime: float | None = None) -> list[TraceRequest]:
    """Forty objects, again and again, from everywhere in turn, ten a second."""
    return [TraceRequest(at / 10, f"/{at * 7 % 40}", 1_000, "", lifetime) for at in range(count)]


def prediction_of(wanted: WhatIf, requests: list[TraceRequest], *invalidations: Invalidation) -> Prediction:
    setting = Setting(default_topology(), RULES_OF_TRACES, OriginAnswers(), invalidations)
    return predict_trace(setting, [wanted], requests)[0]


def test_every_request_is_answered_once_and_fetches_are_those_of_the_next_tier() -> None:
    prediction = prediction_of(WhatIf(), series())
    edge, regional = prediction.of_tier("edge"), prediction.of_tier("regional")
    assert edge.requests == edge.hits + edge.refresh_hits + edge.misses == 600
    assert edge.upstream_fetches == regional.requests and edge.origin_fetches == 0
    assert regional.origin_fetches == prediction.origin.requests == 2 * 40  # each object once a regional cache
    assert sum(counts.requests for counts in prediction.of_pops("edge").values()) == 600


def test_without_the_regional_tier_every_miss_is_the_origins() -> None:
    prediction = prediction_of(WhatIf(has_regional=False), series())
    assert prediction.tiers == ["edge"]
    assert prediction.of_tier("edge").misses == prediction.origin.requests > 2 * 40


def test_a_shield_has_the_origin_asked_once() -> None:
    prediction = prediction_of(WhatIf(shield="us-east-1"), series())
    assert prediction.tiers == ["edge", "regional", "shield"] and prediction.origin.requests == 40


def test_with_fewer_pops_viewers_share_caches() -> None:
    whole, one = prediction_of(WhatIf(), series()), prediction_of(WhatIf(pops=1), series())
    assert len(one.of_pops("edge")) == 1 and one.of_tier("edge").misses < whole.of_tier("edge").misses


def test_a_lifetime_takes_the_place_of_what_the_trace_says() -> None:
    as_said, longer = (
        prediction_of(WhatIf(), series(lifetime=2)),
        prediction_of(WhatIf(ttl_seconds=3_600), series(lifetime=2)),
    )
    assert as_said.of_tier("edge").refresh_hits > 0 == longer.of_tier("edge").refresh_hits


def test_what_is_invalidated_is_fetched_again() -> None:
    prediction = prediction_of(WhatIf(shield="us-east-1"), series(), Invalidation(30.0, ("/1*",)))
    assert prediction.origin.requests == 40 + 11  # /1 and /10 to /19
    assert prediction.origin.not_modified == 0


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (WhatIf(pops=4), "4 POPs: topology three-regions has 3"),
        (WhatIf(pops=0), "0 POPs"),
        (WhatIf(shield="mars"), "shield in mars: topology three-regions has the regions us-east-1"),
    ],
)
def test_what_the_topology_cannot_be_is_refused(wanted: WhatIf, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        prediction_of(wanted, series(1))


def test_a_disk_tier_is_refused() -> None:
    topology = default_topology()
    pops = (replace(topology.pops[0], cache=replace(topology.pops[0].cache, disk_mib=64)), *topology.pops[1:])
    setting = Setting(replace(topology, pops=pops), RULES_OF_TRACES, OriginAnswers())
    with pytest.raises(UsageError, match="disk tiers are not modelled: set disk_mib to 0 for IAD89-P1"):
        predict_trace(setting, [WhatIf()], series(1))


def test_so_many_combinations_and_no_more() -> None:
    assert len(Choices(edge_bytes=range(1, 9), policies=["lru"] * 8).combinations()) == 64
    with pytest.raises(UsageError, match="72 combinations are too many: at most 64"):
        Choices(edge_bytes=range(1, 10), policies=["lru"] * 8).combinations()


# -- the command


def asked(what: str, what_if: WhatIfChoice | None = None, **changes: object) -> PredictionChoice:
    load = LoadChoice(what, 5.0, 6, 40.0, "constant", "")
    choice = PredictionChoice(load, "default", 0, "", [], what_if or WhatIfChoice())
    return replace(choice, **changes)  # type: ignore[arg-type]  # fields of the value


def test_one_prediction_is_told_node_by_node(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.run(wanted=asked("objects"), is_json=False) == 0
    out = capsys.readouterr().out
    assert "edge-iad89-p1-1" in out and "POP FRA56-P1" in out and "regional-eu-central-1-1" in out


def test_the_same_question_has_the_same_answer(capsys: pytest.CaptureFixture[str]) -> None:
    answers = []
    for _ in range(2):
        predict.run(wanted=asked("conditional", WhatIfChoice(policy=["wtinylfu"], memory=["1MiB"])), is_json=True)
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    (prediction,) = answers[0]["predictions"]
    assert prediction["what_if"]["policy"] == "wtinylfu" and 194 <= prediction["tiers"]["edge"]["requests"] <= 206


def test_curves_are_drawn_for_all_else_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("time,target,size\n" + "".join(f"{at},/{at % 30},9000\n" for at in range(300)), encoding="utf-8")
    what_if = WhatIfChoice(memory=["64KiB", "256KiB", "1MiB"], policy=["lru", "fifo"])
    for suffix in ("svg", "html"):
        predict.run(wanted=asked(str(trace), what_if, plot=tmp_path / f"curves.{suffix}"), is_json=False)
    assert "memory 0.25 MiB, fifo" in capsys.readouterr().out
    drawing = ET.parse(tmp_path / "curves.svg").getroot()
    assert drawing.tag == f"{SVG}svg" and len(drawing.findall(f".//{SVG}polyline")) == 4
    words = [each.text for each in drawing.iter(f"{SVG}text")]
    assert {"lru", "fifo", "0.25 MiB", "1 MiB"} <= set(words)
    page = (tmp_path / "curves.html").read_text(encoding="utf-8")
    assert (
        "<svg" in page
        and "Miss-ratio curves of trace.csv" in page
        and "http://" not in page.replace("http://www.w3.org", "")
    )


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (asked("website"), "profile website cannot be predicted: a page decides"),
        (asked("no-such-file"), "no-such-file is neither a file nor a profile"),
        (asked("objects", WhatIfChoice(policy=["mru"], memory=["lots"], regional=["maybe"])), "mru.*maybe.*lots"),
        (asked("objects", invalidate=["soon:/x"]), "give SECONDS:PATH"),
        (asked("objects", plot=Path("curve.png")), "drawn as .svg or .html"),
        (asked("objects", WhatIfChoice(memory=["1MiB"]), plot=Path("curve.svg")), "several --memory"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(choice: PredictionChoice, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        predict.run(wanted=choice, is_json=False)


def test_a_path_that_loses_its_query_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    options = '{"path": "/download/item-{n}?size=20KiB", "count": 3}'
    load = LoadChoice("objects", 5.0, 6, None, "constant", options)
    with pytest.raises(UsageError, match="a behavior that keys no query sends none"):
        predict.run(wanted=replace(asked("objects"), load=load), is_json=False)
    assert capsys.readouterr().out == ""
