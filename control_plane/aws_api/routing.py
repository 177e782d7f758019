"""Which operation a request is, by the method and URI templates of the model. What the parameters mean is the codec's affair.

A template is a path with `{Label}` for one segment, and possibly a literal query (`/tagging?Operation=Tag`) that tells operations on one path apart.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from botocore.model import OperationModel, ServiceModel

from control_plane.aws_api.errors import ApiError


@dataclass(frozen=True, slots=True)
class Route:
    """One operation's template, compiled."""

    operation: OperationModel
    method: str
    path: re.Pattern[str]
    labels: tuple[str, ...]
    literal_query: Mapping[str, str]

    def match(self, method: str, path: str, query: Mapping[str, str]) -> dict[str, str] | None:
        """The values of the labels, decoded, or None when the request is not this operation."""
        if method != self.method or any(query.get(name) != value for name, value in self.literal_query.items()):
            return None
        found = self.path.fullmatch(path)
        if _NUL.search(path):
            return None  # no identifier has one, and PostgreSQL takes none
        return dict(zip(self.labels, map(unquote, found.groups()), strict=True)) if found else None


_NUL = re.compile("\0|%00")


class Router:
    """All routes of a service, the most specific first."""

    def __init__(self, model: ServiceModel) -> None:
        routes = [_compile(model.operation_model(name)) for name in model.operation_names]
        self._routes = sorted(routes, key=lambda route: (-len(route.literal_query), len(route.labels)))

    def find(self, method: str, path: str, query: Mapping[str, str]) -> tuple[OperationModel, dict[str, str]]:
        """The operation and its labels; `path` is as on the wire, so that an encoded slash stays inside its label."""
        for route in self._routes:
            labels = route.match(method, path, query)
            if labels is not None:
                return route.operation, labels
        raise ApiError("UnknownOperationException", f"No CloudFront operation is {method} {path}.")


def parse_query(query: str) -> Sequence[tuple[str, str]]:
    """Names and values, decoded; a "+" is a plus, as in a canonical request."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def unique_query(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The pairs as a mapping; a name that is there twice is refused rather than guessed at."""
    query = dict(pairs)
    if len(query) != len(pairs):
        raise ApiError("InvalidQueryParameter", "A query parameter is there more than once.")
    return query


def _compile(operation: OperationModel) -> Route:
    path, _, query = operation.http["requestUri"].partition("?")
    pattern = re.sub(r"\\\{[^/}]+\\\}", "([^/]+)", re.escape(path))
    labels = tuple(re.findall(r"\{([^/}]+)\}", path))
    return Route(operation, operation.http["method"], re.compile(pattern + "/?"), labels, dict(parse_query(query)))
