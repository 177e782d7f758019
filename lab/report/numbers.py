"""Numbers as people read them."""


def milliseconds(value: float | None) -> str:
    """Without a unit; below a tenth of a second with a digit after the point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"
