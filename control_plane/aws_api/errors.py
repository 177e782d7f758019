"""What the API answers when it refuses: a code that clients know, and a sentence that says what to do (reference 1.2).

The HTTP status of a code is in botocore's model of the service; here are only those that every AWS service has and no model lists.
"""

from collections.abc import Mapping

from botocore.model import ServiceModel

COMMON_STATUSES: Mapping[str, int] = {
    "IncompleteSignature": 400,
    "InternalFailure": 500,
    "InvalidClientTokenId": 403,
    "InvalidQueryParameter": 400,
    "MalformedXML": 400,
    "MissingAuthenticationToken": 403,
    "RequestEntityTooLarge": 413,
    "RequestTimeout": 408,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "Throttling": 400,
    "UnknownOperationException": 404,
    # Named in the documentation of CreateInvalidation, missing from the model (reference 4).
    "InvalidationBatchAlreadyExists": 409,
}


class ApiError(Exception):
    """The request is refused and nothing has changed; sending it again as it is does not help, unless the code is ServiceUnavailable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def statuses_by_code(model: ServiceModel) -> dict[str, int]:
    """The HTTP status of every error that the service can answer."""
    modelled = {shape.name: int(shape.metadata["error"]["httpStatusCode"]) for shape in model.error_shapes}
    return {**COMMON_STATUSES, **modelled}
