"""A prediction in words and numbers: the table of the command line, and its JSON. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lab.prediction.counts import CacheCounts
from lab.prediction.network import MIB, WhatIf
from lab.prediction.simulation import Prediction

_AS_IT_IS = "as the topology says"


def label_of(wanted: WhatIf) -> str:
    """What is different, for people."""
    parts = []
    if wanted.edge_bytes is not None:
        parts.append(f"memory {_mib(wanted.edge_bytes)}")
    if wanted.regional_bytes is not None:
        parts.append(f"regional memory {_mib(wanted.regional_bytes)}")
    if wanted.policy is not None:
        parts.append(wanted.policy)
    if wanted.ttl_seconds is not None:
        parts.append(f"TTL {wanted.ttl_seconds:g} s")
    if wanted.pops is not None:
        parts.append(f"{wanted.pops} POP{'' if wanted.pops == 1 else 's'}")
    if wanted.has_regional is not None:
        parts.append("with regional tier" if wanted.has_regional else "without regional tier")
    if wanted.shield is not None:
        parts.append(f"shield {wanted.shield}")
    return ", ".join(parts) or _AS_IT_IS


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:g} MiB"


def comparison_rows(combinations: Sequence[WhatIf], predictions: Sequence[Prediction]) -> list[tuple[str, ...]]:
    """One row for each combination, under a head."""
    rows: list[tuple[str, ...]] = [
        ("WHAT IF", "REQUESTS", "EDGE HITS", "REGIONAL HITS", "ORIGIN FETCHES", "ORIGIN BYTES", "SENT BYTES")
    ]
    for wanted, prediction in zip(combinations, predictions, strict=True):
        edge, regional = prediction.of_tier("edge"), prediction.of_tier("regional")
        rows.append(
            (
                label_of(wanted),
                f"{edge.requests:,}",
                percent(edge.hit_ratio),
                percent(regional.hit_ratio),
                f"{prediction.origin.requests:,}",
                size_text(prediction.origin.sent_bytes),
                size_text(edge.sent_bytes),
            )
        )
    return rows


def node_rows(prediction: Prediction) -> list[tuple[str, ...]]:
    """One row for each tier, POP and node, and the origins."""
    rows: list[tuple[str, ...]] = [
        ("TIER", "WHERE", "REQUESTS", "HITS", "REFRESH", "MISSES", "HIT RATIO", "SENT", "FETCHES", "FETCHED", "ORIGIN")
    ]
    for tier in prediction.tiers:
        rows.append(_row(tier, "all", prediction.of_tier(tier)))
        rows += [_row("", f"POP {pop}", counts) for pop, counts in prediction.of_pops(tier).items()]
        rows += [_row("", place.node, counts) for place, counts in prediction.caches.items() if place.tier == tier]
    origin = prediction.origin
    rows.append(("origin", "all", f"{origin.requests:,}", "", "", "", "", size_text(origin.sent_bytes), "", "", ""))
    return rows


def _row(tier: str, where: str, counts: CacheCounts) -> tuple[str, ...]:
    numbers = (counts.requests, counts.hits, counts.refresh_hits, counts.misses)
    return (
        tier,
        where,
        *(f"{each:,}" for each in numbers),
        percent(counts.hit_ratio),
        size_text(counts.sent_bytes),
        f"{counts.upstream_fetches:,}",
        size_text(counts.upstream_bytes),
        f"{counts.origin_fetches:,}",
    )


def percent(ratio: float | None) -> str:
    """With two decimals; a dash where there is no ratio."""
    return "-" if ratio is None else f"{ratio:.2%}"


def size_text(size: float) -> str:
    """Bytes with a unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def document_of(combinations: Sequence[WhatIf], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """For scripts (docs/cli.md)."""
    return [
        {
            "what_if": asdict(wanted),
            "label": label_of(wanted),
            "tiers": {tier: _document(prediction.of_tier(tier)) for tier in prediction.tiers},
            "pops": {pop: _document(counts) for pop, counts in prediction.of_pops("edge").items()},
            "nodes": {place.node: _document(counts) for place, counts in prediction.caches.items()},
            "origin": asdict(prediction.origin),
        }
        for wanted, prediction in zip(combinations, predictions, strict=True)
    ]


def _document(counts: CacheCounts) -> dict[str, Any]:
    return {**asdict(counts), "hit_ratio": counts.hit_ratio}
