"""The table of fields against the service's model: nothing can be accepted and ignored, and the documentation says the same as the code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.model import ListShape, Shape, StructureShape

from control_plane.aws_api.model import load_model
from control_plane.compiler.fields import CACHE_POLICY_FIELDS, DISTRIBUTION_FIELDS, Only, Refused, Table, WithoutEffect
from control_plane.compiler.fields_reference import BEGIN, END, render

MODEL = load_model()
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "management-api.md"

TABLES = [("DistributionConfig", DISTRIBUTION_FIELDS), ("CachePolicyConfig", CACHE_POLICY_FIELDS)]


def leaves(shape: Shape, path: str, table: Table) -> Iterator[str]:
    """Every member that needs a rule: values, and whatever a rule decides about as a whole."""
    if path in table:
        yield path
    elif isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from leaves(member, f"{path}.{name}".removeprefix("."), table)
    elif isinstance(shape, ListShape):
        yield from leaves(shape.member, f"{path}[]", table)
    else:
        yield path


@pytest.mark.parametrize(("shape", "table"), TABLES)
def test_every_member_of_the_model_has_a_rule_and_every_rule_a_member(shape: str, table: Table) -> None:
    assert set(leaves(MODEL.shape_for(shape), "", table)) == set(table)


@pytest.mark.parametrize(("shape", "table"), TABLES)
def test_every_rule_that_limits_says_why(shape: str, table: Table) -> None:
    for path, rule in table.items():
        if isinstance(rule, Only | Refused | WithoutEffect):
            assert rule.reason, path


def test_the_documentation_has_the_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == render(), (
        "run python -m control_plane.compiler.fields_reference and put what it prints between the markers"
    )
