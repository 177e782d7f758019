"""The text format 0.0.4 in which Prometheus reads metrics, for programs of which many run: https://prometheus.io/docs/instrumenting/exposition_formats/.

Prometheus's own client brings a web server, an HTTP client and figures of the process along, 2.5 MiB in each of them. Here is only what nodes say: families
of counters, gauges and histograms, put together when they are asked for.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_IN_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABELS: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Sample(NamedTuple):
    """One line: a suffix to the family's name, labels and a value."""

    suffix: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family:
    """All samples of one name. A value is given at once where there are no labels; else one for each combination of theirs is added."""

    kind = "untyped"
    suffix = ""

    def __init__(self, name: str, text: str, *, value: float | None = None, labels: Sequence[str] = ()) -> None:
        if labels and value is not None:
            raise ValueError(f"{name} has labels, so its values are added one by one")
        self.name = name + self.suffix
        self.text = text
        self._label_names = tuple(labels)
        self.samples: list[Sample] = []
        if value is not None:
            self.samples.append(Sample("", (), value))

    def add_metric(self, label_values: Sequence[str], value: float) -> None:
        """The value where the labels are these, in their order. ValueError for more or fewer of them."""
        self.samples.append(Sample("", self._labelled(label_values), value))

    def _labelled(self, values: Sequence[str]) -> tuple[tuple[str, str], ...]:
        return tuple(zip(self._label_names, values, strict=True))


class CounterFamily(Family):
    """What only grows; its name ends in `_total`."""

    kind = "counter"
    suffix = "_total"


class GaugeFamily(Family):
    """What goes up and down."""

    kind = "gauge"


class HistogramFamily(Family):
    """How often a measure was at most each of some bounds, how often at all, and the sum of all."""

    kind = "histogram"

    def add_buckets(self, label_values: Sequence[str], buckets: Iterable[tuple[str, float]], total: float) -> None:
        """Buckets by their upper bounds, which rise; each counts what is in those before it too, and that of `+Inf`, the last, counts all."""
        labels = self._labelled(label_values)
        count = 0.0
        for bound, count in buckets:
            self.samples.append(Sample("_bucket", (*labels, ("le", bound)), count))
        self.samples += (Sample("_count", labels, count), Sample("_sum", labels, total))


def exposition(families: Iterable[Family]) -> bytes:
    """The document that is scraped."""
    return "".join(line for family in families for line in _lines(family)).encode()


def _lines(family: Family) -> Iterable[str]:
    yield f"# HELP {family.name} {family.text.translate(_IN_HELP)}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for suffix, labels, value in family.samples:
        written = ",".join(f'{name}="{text.translate(_IN_LABELS)}"' for name, text in sorted(labels))
        yield f"{family.name}{suffix}{'{' + written + '}' if written else ''} {_number(value)}\n"


def _number(value: float) -> str:
    """As Go reads it (strconv.ParseFloat)."""
    written = repr(float(value))
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(written, written)
