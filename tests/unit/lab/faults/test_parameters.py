"""What a fault may be told, as people write it."""

import pytest

from lab.errors import UsageError
from lab.faults.parameters import Kind, Parameter

EITHER_WAY = Parameter("by", Kind.DURATION, "s", "how much", -3_600, 3_600)
FORWARD = Parameter("by", Kind.DURATION, "s", "how long", 0.001, 3_600)
NAMES = Parameter("names", Kind.FIELD_NAMES, "", "which")


@pytest.mark.parametrize(("text", "seconds"), [("-30m", -1_800), ("-500ms", -0.5), ("1m30s", 90), (-7, -7)])
def test_a_duration_that_may_go_either_way(text: object, seconds: float) -> None:
    assert EITHER_WAY.read(text) == seconds and EITHER_WAY.read(EITHER_WAY.show(seconds)) == seconds


@pytest.mark.parametrize("given", ["-1s", -1, "--1s", "-", "- 1s"])
def test_most_durations_may_not(given: object) -> None:
    with pytest.raises(UsageError):
        FORWARD.read(given)


def test_its_bounds_are_shown_with_their_sign() -> None:
    with pytest.raises(UsageError, match="from -1h to 1h"):
        EITHER_WAY.read("-2h")


@pytest.mark.parametrize(
    ("given", "value"),
    [("none", "none"), ("*", "*"), ("Accept-Language", "Accept-Language"), ("Cookie,Origin", "Cookie, Origin")],
)
def test_names_of_fields(given: str, value: str) -> None:
    assert NAMES.read(given) == value == NAMES.read(value)


@pytest.mark.parametrize("given", ["", ",", "a b", "a:b", "a\nb", "a,", "\u00e9", "x" * 2_001])
def test_what_is_no_name_of_a_field(given: str) -> None:
    with pytest.raises(UsageError, match="names must be"):
        NAMES.read(given)
