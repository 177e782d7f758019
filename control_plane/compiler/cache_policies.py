"""Cache policies: reference 1.7 and the quotas of 11."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from control_plane.compiler.field_check import field_problems, quantity_problems
from control_plane.compiler.fields import CACHE_POLICY_FIELDS
from control_plane.compiler.names import is_token
from control_plane.compiler.problems import Config, Problem, invalid, items
from proto.cdn.v1 import configuration_pb2

MAXIMUM_NAMES = 10
MAXIMUM_NAME_CHARACTERS = 1_024
"""Names of one kind together."""

MAXIMUM_COMMENT_CHARACTERS = 128
LONGEST_TTL_SECONDS = 100 * 365 * 86_400
"""Reference 2.2: 100 years."""

_ROOT = "CachePolicyConfig"
_CACHE_KEY = "ParametersInCacheKeyAndForwardedToOrigin"

_NEVER_IN_KEY = frozenset({"connection", "cookie", "proxy-authorization", "te", "upgrade"})
_REMOVED_PREFIX = "x-edge-"
"""Reference 2.11: never forwarded; between edges and regional caches these fields carry what only an edge may say."""
_ADDED_BY_THE_SERVICE = "cloudfront-"

_MODES = {
    "none": configuration_pb2.Selection.MODE_NONE,
    "whitelist": configuration_pb2.Selection.MODE_LIST,
    "all": configuration_pb2.Selection.MODE_ALL,
    "allExcept": configuration_pb2.Selection.MODE_ALL_EXCEPT,
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of names: its members in the model, and its quota's error."""

    config: str
    behavior: str
    names: str
    quota_code: str


_HEADERS = _Kind("HeadersConfig", "HeaderBehavior", "Headers", "TooManyHeadersInCachePolicy")
_COOKIES = _Kind("CookiesConfig", "CookieBehavior", "Cookies", "TooManyCookiesInCachePolicy")
_QUERY_STRINGS = _Kind("QueryStringsConfig", "QueryStringBehavior", "QueryStrings", "TooManyQueryStringsInCachePolicy")


def cache_policy_problems(config: Config) -> list[Problem]:
    """Everything that is wrong with a policy whose defaults are filled in."""
    found = [*field_problems(config, CACHE_POLICY_FIELDS, _ROOT), *quantity_problems(config, _ROOT)]
    found += _text_problems(config)
    found += _ttl_problems(config)
    for kind in (_HEADERS, _COOKIES, _QUERY_STRINGS):
        found += _kind_problems(config, kind)
    found += _header_problems(config)
    return found


def unavailable_headers(config: Config) -> Sequence[str]:
    """Headers in the key that the service adds to requests and the lab's edges do not add yet; some managed policies have them."""
    return [name for name in _names(config, _HEADERS) if name.lower().startswith(_ADDED_BY_THE_SERVICE)]


def compile_cache_policy(identifier: str, config: Config) -> configuration_pb2.CachePolicy:
    """The policy as nodes get it; `config` is without problems and its defaults are filled in."""
    key = config[_CACHE_KEY]
    return configuration_pb2.CachePolicy(
        id=identifier,
        minimum_ttl_seconds=config["MinTTL"],
        default_ttl_seconds=config["DefaultTTL"],
        maximum_ttl_seconds=config["MaxTTL"],
        accept_encoding_gzip=key["EnableAcceptEncodingGzip"],
        accept_encoding_brotli=key["EnableAcceptEncodingBrotli"],
        headers=_selection(config, _HEADERS),
        cookies=_selection(config, _COOKIES),
        query_strings=_selection(config, _QUERY_STRINGS),
    )


def _selection(config: Config, kind: _Kind) -> configuration_pb2.Selection:
    return configuration_pb2.Selection(mode=_MODES[_behavior(config, kind)], names=_names(config, kind))


def _behavior(config: Config, kind: _Kind) -> str:
    behavior: str = config[_CACHE_KEY][kind.config][kind.behavior]
    return behavior


def _names(config: Config, kind: _Kind) -> Sequence[str]:
    return items(config[_CACHE_KEY][kind.config].get(kind.names))


def _text_problems(config: Config) -> Iterator[Problem]:
    if not config["Name"].strip():
        yield invalid(f"{_ROOT}.Name", "must not be empty")
    if len(config["Name"]) > MAXIMUM_COMMENT_CHARACTERS:
        yield invalid(f"{_ROOT}.Name", f"must have at most {MAXIMUM_COMMENT_CHARACTERS} characters")
    if len(config["Comment"]) > MAXIMUM_COMMENT_CHARACTERS:
        yield invalid(f"{_ROOT}.Comment", f"must have at most {MAXIMUM_COMMENT_CHARACTERS} characters")


def _ttl_problems(config: Config) -> Iterator[Problem]:
    ttls = {name: config[name] for name in ("MinTTL", "DefaultTTL", "MaxTTL")}
    for name, seconds in ttls.items():
        if not 0 <= seconds <= LONGEST_TTL_SECONDS:
            yield invalid(f"{_ROOT}.{name}", f"must be 0 to {LONGEST_TTL_SECONDS} seconds (100 years), not {seconds}")
    if not ttls["MinTTL"] <= ttls["DefaultTTL"] <= ttls["MaxTTL"]:
        said = ", ".join(f"{name} {seconds}" for name, seconds in ttls.items())
        yield Problem("InvalidTTLOrder", f"{_ROOT} must have MinTTL <= DefaultTTL <= MaxTTL; they are {said}")


def _kind_problems(config: Config, kind: _Kind) -> Iterator[Problem]:
    path = f"{_ROOT}.{_CACHE_KEY}.{kind.config}"
    behavior, names = _behavior(config, kind), _names(config, kind)
    has_list = behavior in ("whitelist", "allExcept")
    if has_list and not names:
        yield invalid(f"{path}.{kind.names}", f"must name at least one, because {kind.behavior} is {behavior}")
    if names and not has_list:
        yield invalid(f"{path}.{kind.names}", f"must be empty, because {kind.behavior} is {behavior}")
    if len(names) > MAXIMUM_NAMES:
        yield Problem(kind.quota_code, f"{path}.{kind.names} must name at most {MAXIMUM_NAMES}, not {len(names)}")
    if sum(map(len, names)) > MAXIMUM_NAME_CHARACTERS:
        yield invalid(f"{path}.{kind.names}", f"must have at most {MAXIMUM_NAME_CHARACTERS} characters together")
    if len({_identity(name, kind) for name in names}) != len(names):
        yield invalid(f"{path}.{kind.names}", "must not name anything twice")
    for name in names:
        if not (is_token(name) if kind is not _QUERY_STRINGS else _is_query_name(name)):
            yield invalid(f"{path}.{kind.names}", f"must not hold {name[:64]!r}, which is no name")


def _identity(name: str, kind: _Kind) -> str:
    """Header names are the only ones without case (reference 2.1)."""
    return name.lower() if kind is _HEADERS else name


def _is_query_name(name: str) -> bool:
    """As it stands in a URL: printable, and none of the characters that end a name."""
    return bool(name) and all("!" <= character <= "~" and character not in "&=#" for character in name)


def _header_problems(config: Config) -> Iterator[Problem]:
    path = f"{_ROOT}.{_CACHE_KEY}.HeadersConfig.Headers"
    for name in _names(config, _HEADERS):
        if name.lower() in _NEVER_IN_KEY or name.lower().startswith(_REMOVED_PREFIX):
            yield invalid(path, f"must not name {name}, which cannot be part of a cache key")
    for name in unavailable_headers(config):
        yield invalid(path, f"is not supported yet with {name}: edges do not add CloudFront-* headers in this version")
