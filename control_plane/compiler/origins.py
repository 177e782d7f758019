"""Origins: reference 1.4 and the quotas of 11. Differs from the service on purpose: a domain name may be an address or a local name."""

from collections.abc import Iterator

from control_plane.compiler.names import is_field_value, is_origin_host, is_token, is_uri_path
from control_plane.compiler.problems import Config, Problem, invalid, items
from proto.cdn.v1 import configuration_pb2

MAXIMUM_ORIGINS = 100
MAXIMUM_CUSTOM_HEADERS = 30
MAXIMUM_HEADER_NAME_BYTES = 256
MAXIMUM_HEADER_VALUE_BYTES = 1_783
MAXIMUM_HEADERS_BYTES = 10_240
MAXIMUM_PATH_CHARACTERS = 255
MAXIMUM_ID_CHARACTERS = 128

_FORBIDDEN_HEADERS = frozenset({
    # RFC 8586 section 2: what CDNs before wrote must not be taken away. Reference 1.4.2 has the others.
    "cdn-loop",
    "cache-control", "connection", "content-length", "cookie", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "proxy-connection", "range",
    "request-range", "te", "trailer", "transfer-encoding", "upgrade", "via", "x-real-ip",
})  # fmt: skip
_FORBIDDEN_PREFIXES = ("x-amz-", "x-edge-")


def origin_problems(config: Config, root: str) -> Iterator[Problem]:
    """Everything that is wrong with the origins of a distribution whose defaults are filled in."""
    origins = items(config["Origins"])
    if not origins:
        yield invalid(f"{root}.Origins", "must hold at least one origin")
    if len(origins) > MAXIMUM_ORIGINS:
        yield Problem("TooManyOrigins", f"{root}.Origins must hold at most {MAXIMUM_ORIGINS}, not {len(origins)}")
    if len({origin["Id"] for origin in origins}) != len(origins):
        yield invalid(f"{root}.Origins", "must not use one Id twice")
    for position, origin in enumerate(origins):
        path = f"{root}.Origins.Items[{position}]"
        yield from _identity_problems(origin, path)
        yield from _connection_problems(origin, path)
        yield from _custom_header_problems(origin, f"{path}.CustomHeaders")


def compile_origin(origin: Config) -> configuration_pb2.Origin:
    """The origin as nodes get it; `origin` is without problems."""
    custom = origin["CustomOriginConfig"]
    headers = items(origin["CustomHeaders"])
    return configuration_pb2.Origin(
        id=origin["Id"],
        host=origin["DomainName"],
        port=custom["HTTPPort"],
        path_prefix=origin["OriginPath"],
        custom_headers=[
            configuration_pb2.Header(name=header["HeaderName"], value=header["HeaderValue"]) for header in headers
        ],
        connection_attempts=origin["ConnectionAttempts"],
        connection_timeout_milliseconds=origin["ConnectionTimeout"] * 1_000,
        read_timeout_milliseconds=custom["OriginReadTimeout"] * 1_000,
        keepalive_timeout_milliseconds=custom["OriginKeepaliveTimeout"] * 1_000,
        completion_timeout_milliseconds=_completion_timeout(origin) * 1_000,
    )


def _identity_problems(origin: Config, path: str) -> Iterator[Problem]:
    if not 0 < len(origin["Id"]) <= MAXIMUM_ID_CHARACTERS:
        yield invalid(f"{path}.Id", f"must have 1 to {MAXIMUM_ID_CHARACTERS} characters")
    name = origin["DomainName"]
    if not is_origin_host(name):
        yield invalid(
            f"{path}.DomainName",
            f"must be a host name or an address, without scheme, port or path, not {name[:64]!r}; "
            "the port goes to CustomOriginConfig.HTTPPort",
        )
    prefix = origin["OriginPath"]
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        yield invalid(f"{path}.OriginPath", "must begin with / and not end with it")
    if len(prefix) > MAXIMUM_PATH_CHARACTERS or not is_uri_path(prefix):
        yield invalid(
            f"{path}.OriginPath", f"must be the path of a URL of at most {MAXIMUM_PATH_CHARACTERS} characters"
        )


def _connection_problems(origin: Config, path: str) -> Iterator[Problem]:
    if not 1 <= origin["ConnectionAttempts"] <= 3:
        yield invalid(f"{path}.ConnectionAttempts", "must be 1 to 3")
    if not 1 <= origin["ConnectionTimeout"] <= 10:
        yield invalid(f"{path}.ConnectionTimeout", "must be 1 to 10 seconds")
    custom = origin.get("CustomOriginConfig")
    if custom is None:
        yield invalid(f"{path}.CustomOriginConfig", "is required")
        return
    for name in ("HTTPPort", "HTTPSPort"):
        if custom[name] not in (80, 443) and not 1_024 <= custom[name] <= 65_535:
            yield invalid(f"{path}.CustomOriginConfig.{name}", f"must be 80, 443 or 1024 to 65535, not {custom[name]}")
    for name in ("OriginReadTimeout", "OriginKeepaliveTimeout"):
        if not 1 <= custom[name] <= 120:
            yield Problem(f"Invalid{name}", f"{path}.CustomOriginConfig.{name} must be 1 to 120 seconds")
    completion, read = _completion_timeout(origin), custom["OriginReadTimeout"]
    if completion != 0 and completion < read:
        yield invalid(
            f"{path}.ResponseCompletionTimeout",
            f"must be 0 for no bound, or at least OriginReadTimeout, which is {read} seconds",
        )


def _completion_timeout(origin: Config) -> int:
    """Seconds; 0 when there is no bound, which is also what its absence means (reference 1.4)."""
    seconds: int = origin.get("ResponseCompletionTimeout", 0)
    return seconds


def _custom_header_problems(origin: Config, path: str) -> Iterator[Problem]:
    headers = items(origin["CustomHeaders"])
    if len(headers) > MAXIMUM_CUSTOM_HEADERS:
        yield Problem("TooManyOriginCustomHeaders", f"{path} must hold at most {MAXIMUM_CUSTOM_HEADERS}")
    names = [header["HeaderName"].lower() for header in headers]
    if len(set(names)) != len(names):
        yield invalid(path, "must not name a header twice")
    if sum(len(header["HeaderName"]) + len(header["HeaderValue"]) for header in headers) > MAXIMUM_HEADERS_BYTES:
        yield invalid(path, f"must have at most {MAXIMUM_HEADERS_BYTES} bytes together")
    for position, header in enumerate(headers):
        yield from _header_problems(header["HeaderName"], header["HeaderValue"], f"{path}.Items[{position}]")


def _header_problems(name: str, value: str, path: str) -> Iterator[Problem]:
    """Reference 1.4.2."""
    if not is_token(name) or len(name) > MAXIMUM_HEADER_NAME_BYTES:
        yield invalid(f"{path}.HeaderName", f"must be a header name of at most {MAXIMUM_HEADER_NAME_BYTES} bytes")
    elif name.lower() in _FORBIDDEN_HEADERS or name.lower().startswith(_FORBIDDEN_PREFIXES):
        yield invalid(f"{path}.HeaderName", f"must not be {name}, which cannot be set for an origin")
    if not is_field_value(value) or len(value) > MAXIMUM_HEADER_VALUE_BYTES:
        yield invalid(
            f"{path}.HeaderValue",
            f"must be printable Latin-1 of at most {MAXIMUM_HEADER_VALUE_BYTES} bytes, without line breaks",
        )
