"""Conditions: what is one, what it means, and what is said of a text that is none."""

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.checkers.conditions import Measure, parse_condition
from lab.errors import UsageError
from tests.depth import examples


@dataclass(frozen=True)
class Figure:
    measure: Measure
    place: str = "anywhere"
    places: tuple[str, ...] = ()


FIGURES = {
    "p95": Figure(Measure.TIME), "hit_ratio": Figure(Measure.SHARE, "tier", ("edge", "regional")),
    "live_nodes": Figure(Measure.COUNT, ""), "bytes": Figure(Measure.BYTES),
}  # fmt: skip
UNITS = {"": "1", "%": "0.01", "ms": "0.001", "s": "1", "KiB": "1024", "MiB": "1048576"}
OF = {"p95": ("ms", "s"), "hit_ratio": ("", "%"), "live_nodes": ("",), "bytes": ("", "KiB", "MiB")}
PLACES = {"hit_ratio": ("", "edge", "regional"), "live_nodes": ("",)}
HOLDS = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    "==": lambda order: order == 0,
    "!=": lambda order: order != 0,
    ">=": lambda order: order >= 0,
    ">": lambda order: order > 0,
}
GAP = st.sampled_from(["", " ", "  "])


@settings(max_examples=examples(60))
@given(
    figure=st.sampled_from(list(FIGURES)),
    place=st.sampled_from(["", "eu-central-1", "edge-fra56-p1-1", "regional"]),
    sign=st.sampled_from(list(HOLDS)),
    quarters=st.integers(-400, 400),
    unit=st.sampled_from(list(UNITS)),
    gaps=st.tuples(GAP, GAP, GAP, GAP),
    steps=st.integers(-3, 3),
)
def test_what_is_parsed_holds_as_exact_arithmetic_says(
    figure: str, place: str, sign: str, quarters: int, unit: str, gaps: tuple[str, ...], steps: int
) -> None:
    number = Decimal(quarters) / 4
    brackets = f"({place})" if place else ""
    text = f"{gaps[0]}{figure}{brackets}{gaps[1]}{sign}{gaps[2]}{number}{gaps[3]}{unit}"
    is_share_beyond = figure == "hit_ratio" and not 0 <= number * Decimal(UNITS[unit]) <= 1
    if unit not in OF[figure] or place not in PLACES.get(figure, (place,)) or is_share_beyond:
        with pytest.raises(UsageError, match=f"^{figure} "):
            parse_condition(text, FIGURES)
        return
    condition = parse_condition(text, FIGURES)
    bound = number * Decimal(UNITS[unit])
    assert (condition.figure, condition.place, condition.sign) == (figure, place, sign)
    value = condition.bound if steps == 0 else float(bound + steps * Decimal(UNITS[unit]) / 8)
    assert condition.bound == pytest.approx(float(bound))
    assert condition.holds(value) == HOLDS[sign](steps)
    again = parse_condition(str(condition), FIGURES)
    assert (again.figure, again.place, again.sign, again.bound) == (figure, place, sign, condition.bound)


@pytest.mark.parametrize(
    "text",
    [
        "", "p95", "p95 <", "p95 < fast", "p95 < 4 m", "p95 < 4 S", "p95 < 4 kib", "p95 = 4", "p95 => 4", "p95 =< 4", "p95 <> 4", "p95 < 1e3", "p95 < .5",
        "p95 < 1.", "p95 < +1", "p95 < - 1", "p95 < 1,5", "p95 < inf", "p95 < nan", "p95() < 1", "p95 (eu) < 1", "p95(a b) < 1", "p95(eu < 1", "P95 < 1",
        "1 > p95", "p95 < 1 and p95 > 0", "p95 < 1\n; p95 > 0", "p95 < \u0661", "p95(\u00e9) < 1",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(UsageError, match="is no condition: write FIGURE") as error:
        parse_condition(text, FIGURES)
    assert "\n" not in str(error.value)


def test_a_figure_that_there_is_not_is_told_which_there_are() -> None:
    with pytest.raises(UsageError, match="no figure 'p59': there are p95, hit_ratio, live_nodes, bytes"):
        parse_condition("p59 < 1", FIGURES)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("p95 < 400", "p95 is a duration with its unit: ms or s"),
        ("hit_ratio > 80", "hit_ratio is a share: from 0 to 1, or with %, as in 5 %"),
        ("hit_ratio(mars) > 0", "hit_ratio is of the tier edge or regional, not 'mars'"),
        ("live_nodes(edge-1) > 0", r"live_nodes has no place: write it without \(edge-1\)"),
    ],
)
def test_what_would_hold_always_or_never_is_a_mistake(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_condition(text, FIGURES)
