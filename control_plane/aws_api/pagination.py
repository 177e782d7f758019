"""Lists in pages (reference 1.1): `Marker` is the last item of the page before, `MaxItems` how many are wanted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from control_plane.aws_api.codec import Parameters
from control_plane.aws_api.errors import ApiError

MAXIMUM_ITEMS = 100
"""Also what a page holds when nothing is said; asking for more gives this many."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list, and where to go on."""

    marker: str
    next_marker: str | None
    maximum_items: int
    items: Sequence[Item]

    def to_list(self, to_summary: Callable[[Item], Parameters]) -> dict[str, Any]:
        """The members that most lists of the model have; `Items` is left out of an empty one, as the service does."""
        listed: dict[str, Any] = {
            "Marker": self.marker,
            "MaxItems": self.maximum_items,
            "IsTruncated": self.next_marker is not None,
            "Quantity": len(self.items),
        }
        if self.next_marker is not None:
            listed["NextMarker"] = self.next_marker
        if self.items:
            listed["Items"] = [to_summary(item) for item in self.items]
        return listed


def page_by_id(items: Sequence[Item], identifier: Callable[[Item], str], parameters: Parameters) -> Page[Item]:
    """A page of a list ordered by id: a marker stays valid when its item is deleted between two pages."""
    marker = parameters.get("Marker") or ""
    ordered = sorted((item for item in items if identifier(item) > marker), key=identifier)
    return page_of(ordered, identifier, parameters)


def page_of(rest: Sequence[Item], identifier: Callable[[Item], str], parameters: Parameters) -> Page[Item]:
    """A page of what follows the marker, of which there is one more than `maximum_items` if there is more than a page."""
    maximum = maximum_items(parameters)
    items = rest[:maximum]
    next_marker = identifier(items[-1]) if len(rest) > maximum else None
    return Page(parameters.get("Marker") or "", next_marker, maximum, items)


def maximum_items(parameters: Parameters) -> int:
    """How many items a page may have. ApiError when what was asked for is no number."""
    text = str(parameters.get("MaxItems", MAXIMUM_ITEMS))
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9 and int(text) > 0):
        raise ApiError("InvalidArgument", "MaxItems must be a positive number.")
    return min(int(text), MAXIMUM_ITEMS)
