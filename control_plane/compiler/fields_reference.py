"""The table of fields as Markdown, for docs/management-api.md: `python -m control_plane.compiler.fields_reference` prints what belongs between its markers."""

from collections.abc import Iterator

from control_plane.compiler.fields import DISTRIBUTION_FIELDS, Honoured, Only, Refused, Rule, WithoutEffect

BEGIN, END = "<!-- fields: generated -->", "<!-- end of fields -->"


def render() -> str:
    """Every member of DistributionConfig that is not simply honoured, and why; those of cache behaviors are as those of the default one."""
    return "\n".join(["| member | accepted | why |", "|---|---|---|", *_rows()])


def _rows() -> Iterator[str]:
    for path, rule in DISTRIBUTION_FIELDS.items():
        is_repeated = path.startswith("CacheBehaviors.Items[].") and not path.endswith("PathPattern")
        if not isinstance(rule, Honoured) and not is_repeated:
            yield f"| `{path}` | {_accepted(rule)} | {rule.reason} |"


def _accepted(rule: Rule) -> str:
    match rule:
        case Honoured():
            return "honoured"
        case WithoutEffect():
            return "anything, without effect"
        case Only(values, _):
            return " or ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in values)
        case Refused():
            return "nothing"


if __name__ == "__main__":
    print(render())
