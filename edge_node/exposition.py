"""Prometheus's text format (version 0.0.4): metric families with their samples, and how they are written.

The official client writes the same bytes, which a test compares; a node does not load it, since it brings an HTTP server, a push client and much else along, together
2.3 MiB of memory in each node (docs/benchmarks.md).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

EXPONENT_FROM_DIGITS = 6
"""Go, and so Prometheus's own clients, write numbers with more digits before the point as a power of ten."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: the name with its suffix, the labels, the value."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(slots=True)
class Metric:
    """A family of samples that share a name and a meaning."""

    name: str
    text: str
    kind: str
    label_names: tuple[str, ...] = ()
    samples: list[Sample] = field(default_factory=list)

    @property
    def exposed_name(self) -> str:
        """A counter's name ends with `_total` in this format."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def add(self, label_values: Sequence[str], value: float) -> None:
        """The value of a counter or gauge for these labels."""
        labels = dict(zip(self.label_names, label_values, strict=True))
        self.samples.append(Sample(self.exposed_name, labels, value))

    def add_histogram(
        self, label_values: Sequence[str], buckets: Sequence[tuple[str, int]], sum_seconds: float
    ) -> None:
        """Cumulative buckets by their upper bounds; the last one, +Inf, is the count."""
        labels = dict(zip(self.label_names, label_values, strict=True))
        for bound, count in buckets:
            self.samples.append(Sample(f"{self.name}_bucket", {**labels, "le": bound}, count))
        self.samples.append(Sample(f"{self.name}_count", labels, buckets[-1][1]))
        self.samples.append(Sample(f"{self.name}_sum", labels, sum_seconds))


def number(value: float) -> str:
    """As Go writes it: `1.0`, `1.234567e+06`, `+Inf`, `NaN`."""
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    point = text.find(".")
    if value > 0 and point > EXPONENT_FROM_DIGITS:
        mantissa = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0.")
        return f"{mantissa}e+{point - 1:02d}"
    return text


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{labels and '{' + labels + '}'} {number(sample.value)}\n"


def render(families: Iterable[Metric]) -> bytes:
    """The whole exposition."""
    pieces = []
    for family in families:
        help_text = family.text.replace("\\", "\\\\").replace("\n", "\\n")
        pieces.append(f"# HELP {family.exposed_name} {help_text}\n# TYPE {family.exposed_name} {family.kind}\n")
        pieces.extend(_line(sample) for sample in family.samples)
    return "".join(pieces).encode()
