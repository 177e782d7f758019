"""Invalidations: reference 4. What an invalidation does to caches is the data plane's affair; here is what may be asked, and how far it is."""

import re
from collections.abc import Iterator, Sequence

from control_plane.aws_api.calls import Call
from control_plane.aws_api.codec import Parameters
from control_plane.aws_api.distributions import find as find_distribution
from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.identifiers import new_invalidation_id
from control_plane.aws_api.pagination import maximum_items, page_of
from control_plane.aws_api.publishing import refusal
from control_plane.compiler.field_check import quantity_problems
from control_plane.compiler.problems import Problem, invalid, items
from control_plane.state import Invalidate, InvalidationRecord, InvalidationsInProgress, InvalidationSummary
from proto.cdn.v1 import configuration_pb2

MAXIMUM_FILE_PATHS = 3_000
MAXIMUM_WILDCARD_PATHS = 15
MAXIMUM_PATH_CHARACTERS = 4_000
MAXIMUM_CALLER_REFERENCE_CHARACTERS = 1_024
RETAINED_INVALIDATIONS = 1_000
"""That a distribution remembers, unless more are in progress; an older caller reference may be used anew."""

_ROOT = "InvalidationBatch"

# Printable ASCII without what RFC 1738 section 2.2 calls unsafe; "%" only as part of an encoded byte. "~" is among the unsafe, and does not work at all.
_PATH = re.compile(r"/([!$&'()*+,./0-9:;=?@A-Z_a-z-]|%[0-9A-Fa-f]{2})*")


def create(call: Call, parameters: Parameters) -> Parameters:
    """CreateInvalidation."""
    distribution = find_distribution(call, parameters["DistributionId"])
    batch = parameters["InvalidationBatch"]
    paths = _checked_paths(batch)
    reference = batch["CallerReference"]
    repeated = call.transaction.invalidations.with_reference(distribution.id, reference)
    completed_index = call.deployment.completed_index()
    if repeated is None:
        record = _issue(call, distribution.id, reference, paths)
        _keep_within_bounds(call, distribution.id, completed_index)
    else:
        record = _same(repeated, paths)
    location = call.location(f"distribution/{distribution.id}/invalidation/{record.id}")
    return {"Invalidation": _to_invalidation(record, completed_index), "Location": location}


def get(call: Call, parameters: Parameters) -> Parameters:
    """GetInvalidation."""
    distribution = find_distribution(call, parameters["DistributionId"])
    record = call.transaction.invalidations.get(parameters["Id"])
    if record is None or record.distribution_id != distribution.id:
        raise ApiError("NoSuchInvalidation", f"The specified invalidation does not exist: {parameters['Id'][:64]}.")
    return {"Invalidation": _to_invalidation(record, call.deployment.completed_index())}


def list_all(call: Call, parameters: Parameters) -> Parameters:
    """ListInvalidations, newest first."""
    distribution = find_distribution(call, parameters["DistributionId"])
    before_index = _index_of_marker(call, distribution.id, parameters.get("Marker") or "")
    wanted = maximum_items(parameters) + 1
    rest = call.transaction.invalidations.newest(distribution.id, wanted, before_index)
    page = page_of(rest, lambda summary: summary.id, parameters)
    completed_index = call.deployment.completed_index()
    return {"InvalidationList": page.to_list(lambda summary: _to_summary(summary, completed_index))}


def _index_of_marker(call: Call, distribution_id: str, marker: str) -> int | None:
    """Where the page before ended, or None at the beginning."""
    if not marker:
        return None
    record = call.transaction.invalidations.get(marker)
    if record is None or record.distribution_id != distribution_id:
        raise ApiError("InvalidArgument", "Marker is not one that this list has given.")
    return record.index


def _checked_paths(batch: Parameters) -> tuple[str, ...]:
    paths: Sequence[str] = items(batch["Paths"])
    problems = [*quantity_problems(batch, _ROOT), *_batch_problems(batch["CallerReference"], paths)]
    if problems:
        raise refusal(problems)
    return tuple(paths)


def _batch_problems(caller_reference: str, paths: Sequence[str]) -> Iterator[Problem]:
    if not 0 < len(caller_reference) <= MAXIMUM_CALLER_REFERENCE_CHARACTERS:
        yield invalid(f"{_ROOT}.CallerReference", f"must have 1 to {MAXIMUM_CALLER_REFERENCE_CHARACTERS} characters")
    if not paths:
        yield invalid(f"{_ROOT}.Paths", "must hold at least one path")
    if len(paths) > MAXIMUM_FILE_PATHS:
        yield Problem("BatchTooLarge", f"{_ROOT}.Paths must hold at most {MAXIMUM_FILE_PATHS}, not {len(paths)}")
    for position, path in enumerate(paths):
        reason = path_problem(path)
        if reason is not None:
            yield invalid(f"{_ROOT}.Paths.Items[{position}]", reason)


def path_problem(path: str) -> str | None:
    """Why this is no path to invalidate, or None (the path rules of reference 4)."""
    if path.startswith("#"):
        return "is not supported yet: cache tags are not there in this version; invalidate paths"
    if not path.startswith("/"):
        return f"must begin with /: {path[:64]!r}"
    if len(path) > MAXIMUM_PATH_CHARACTERS:
        return f"must have at most {MAXIMUM_PATH_CHARACTERS} characters, not {len(path)}"
    if "~" in path:
        return f"must not hold ~, which no invalidation matches; use a wildcard instead: {path[:64]!r}"
    if not _PATH.fullmatch(path):
        return f"must have non-ASCII and unsafe characters (RFC 1738) percent-encoded: {path[:64]!r}"
    return None


def _same(record: InvalidationRecord, paths: Sequence[str]) -> InvalidationRecord:
    """Asking twice for the same is asking once (reference 4)."""
    if set(record.paths) != set(paths):
        raise ApiError(
            "InvalidationBatchAlreadyExists",
            f"The caller reference is that of {record.id}, which is for other paths.",
        )
    return record


def _issue(call: Call, distribution_id: str, caller_reference: str, paths: tuple[str, ...]) -> InvalidationRecord:
    identifier = new_invalidation_id(call.rng)
    message = configuration_pb2.Invalidation(id=identifier, distribution_id=distribution_id, paths=paths)
    index = call.transaction.append(Invalidate(message))
    record = InvalidationRecord(identifier, distribution_id, index, paths, caller_reference, call.now)
    call.transaction.invalidations.add(record)
    return record


def _keep_within_bounds(call: Call, distribution_id: str, completed_index: int) -> None:
    """ApiError when there are too many now; and the oldest are forgotten."""
    history = call.transaction.invalidations
    _check_quotas(history.in_progress(distribution_id, completed_index))
    history.forget_oldest(distribution_id, RETAINED_INVALIDATIONS, completed_index)


def _check_quotas(in_progress: InvalidationsInProgress) -> None:
    """File paths and wildcard paths are counted apart (reference 4)."""
    if in_progress.file_paths > MAXIMUM_FILE_PATHS:
        raise ApiError("TooManyInvalidationsInProgress", f"More than {MAXIMUM_FILE_PATHS} paths would be in progress.")
    if in_progress.wildcard_paths > MAXIMUM_WILDCARD_PATHS:
        raise ApiError(
            "TooManyInvalidationsInProgress", f"More than {MAXIMUM_WILDCARD_PATHS} wildcard paths would be in progress."
        )


def _to_invalidation(record: InvalidationRecord, completed_index: int) -> Parameters:
    paths = {"Quantity": len(record.paths), "Items": list(record.paths)}
    return {
        "Id": record.id,
        "Status": _status(record.index, completed_index),
        "CreateTime": record.created_at,
        "InvalidationBatch": {"Paths": paths, "CallerReference": record.caller_reference},
    }


def _to_summary(summary: InvalidationSummary, completed_index: int) -> Parameters:
    return {"Id": summary.id, "CreateTime": summary.created_at, "Status": _status(summary.index, completed_index)}


def _status(index: int, completed_index: int) -> str:
    return "Completed" if index <= completed_index else "InProgress"
