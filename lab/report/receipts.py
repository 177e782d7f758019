"""Invalidations and their receipts: which node acknowledged when, and which were left out."""

from lab.report.data.receipts import Acknowledgement, Receipt
from lab.report.markup import NOTHING, Markup, element, fold, section, table, text
from lab.report.numbers import milliseconds

_NOTE = (
    "An invalidation is complete when every node with a live lease has applied it and said so. Nodes without a lease "
    "are left out of DNS answers, and catch up before they come back."
)
MOST_RECEIPTS = 40


def receipts_section(receipts: tuple[Receipt, ...]) -> Markup:
    parts = [_receipt(receipt) for receipt in receipts[:MOST_RECEIPTS]]
    if len(receipts) > MOST_RECEIPTS:
        parts.append(element("p", text(f"and {len(receipts) - MOST_RECEIPTS:,} more"), "note"))
    return section("receipts", "Invalidation receipts", _NOTE, parts)


def _receipt(receipt: Receipt) -> Markup:
    status = "complete" if receipt.is_complete else "not complete in this run"
    taken = "" if receipt.seconds is None else f" in {milliseconds(receipt.seconds * 1000)} ms"
    who = f" · {receipt.acknowledged} of {len(receipt.nodes)} nodes" if receipt.nodes else ""
    title = text(f"{receipt.id}: {status}{taken} · {receipt.paths}{who} · log index {receipt.index}")
    slowest = max((each.seconds for each in receipt.nodes if each.seconds is not None), default=0.0)
    rows = [
        [
            element("code", text(each.node)),
            text(each.state.replace("_", " ")),
            text(_acknowledged(each)),
            _meter(each, slowest),
        ]
        for each in receipt.nodes
    ]
    if not rows:
        return element("div", element("p", title, "note"), "card")
    return fold(title, table(["node", "state", "acknowledged", ""], rows))


def _acknowledged(each: Acknowledgement) -> str:
    if each.seconds is not None:
        return f"after {each.seconds * 1000:.1f} ms"
    return f"left out since {each.left_out_since}" if each.left_out_since else "not in this run"


def _meter(each: Acknowledgement, slowest: float) -> Markup:
    """As long as it took, against the slowest."""
    if each.seconds is None or slowest <= 0:
        return NOTHING
    return element("span", NOTHING, "meter", {"style": f"width:{max(each.seconds, 0) / slowest * 100:.1f}%"})
