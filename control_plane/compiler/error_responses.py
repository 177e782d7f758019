"""Custom error responses: reference 2.5. When a page is fetched and when an error is cached is the nodes' affair; here is what may be asked for."""

from collections.abc import Iterator

from control_plane.compiler.cache_policies import LONGEST_TTL_SECONDS
from control_plane.compiler.names import is_uri_path
from control_plane.compiler.problems import Config, Problem, invalid, items
from proto.cdn.v1 import configuration_pb2

MAXIMUM_PAGE_PATH_CHARACTERS = 4_000
"""Not documented; that of the other paths that the service's API takes."""

ERROR_CODES = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)
RESPONSE_CODES = (200, *ERROR_CODES)


def error_response_problems(config: Config, root: str) -> Iterator[Problem]:
    """Everything that is wrong with the error responses of a distribution whose defaults are filled in."""
    responses = items(config["CustomErrorResponses"])
    codes = [response["ErrorCode"] for response in responses]
    if len(set(codes)) != len(codes):
        yield invalid(f"{root}.CustomErrorResponses", "must not hold one ErrorCode twice")
    for position, response in enumerate(responses):
        path = f"{root}.CustomErrorResponses.Items[{position}]"
        if response["ErrorCode"] not in ERROR_CODES:
            yield Problem(
                "InvalidErrorCode",
                f"{path}.ErrorCode must be one of {_listed(ERROR_CODES)}, not {response['ErrorCode']}",
            )
        if not 0 <= response["ErrorCachingMinTTL"] <= LONGEST_TTL_SECONDS:
            yield invalid(f"{path}.ErrorCachingMinTTL", f"must be 0 to {LONGEST_TTL_SECONDS} seconds (100 years)")
        yield from _page_problems(response, path)


def compile_error_response(response: Config) -> configuration_pb2.ErrorResponse:
    """The error response as nodes get it; it is without problems."""
    return configuration_pb2.ErrorResponse(
        error_status=response["ErrorCode"],
        minimum_ttl_seconds=response["ErrorCachingMinTTL"],
        page_path=response["ResponsePagePath"],
        response_status=int(response["ResponseCode"] or 0),
    )


def _page_problems(response: Config, path: str) -> Iterator[Problem]:
    page_path, code = response["ResponsePagePath"], response["ResponseCode"]
    if bool(page_path) != bool(code):
        yield invalid(path, "must have both ResponsePagePath and ResponseCode, or neither")
    if code and code not in map(str, RESPONSE_CODES):
        yield Problem(
            "InvalidResponseCode", f"{path}.ResponseCode must be one of {_listed(RESPONSE_CODES)}, not {code[:16]!r}"
        )
    is_path = page_path.startswith("/") and is_uri_path(page_path)
    if page_path and (not is_path or len(page_path) > MAXIMUM_PAGE_PATH_CHARACTERS):
        yield Problem(
            "InvalidRelativePath",
            f"{path}.ResponsePagePath must be the path of a URL, beginning with /, "
            f"of at most {MAXIMUM_PAGE_PATH_CHARACTERS} characters",
        )


def _listed(codes: tuple[int, ...]) -> str:
    return ", ".join(map(str, codes))
