"""Errors in S3's XML (S3 API reference, "Error responses"): one table of codes, statuses and messages."""

from html import escape

from origin.messages import Response

_ERRORS = {
    "BadDigest": (400, "The Content-MD5 you specified did not match what was received."),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty."),
    "EntityTooLarge": (413, "Your proposed upload exceeds the maximum allowed object size."),
    "InsufficientStorage": (507, "The byte budget of this origin's buckets is used up."),
    "InvalidArgument": (400, "Invalid argument."),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "KeyTooLongError": (400, "Your key is too long."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NotImplemented": (501, "A parameter or header implies functionality that is not implemented."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold."),
}


def s3_error(code: str, resource: str, message: str = "") -> Response:
    """The error with this code; S3 answers EntityTooLarge with 400, here it is HTTP's own 413."""
    status, usual_message = _ERRORS[code]
    return xml_response(
        status,
        f"<Error><Code>{code}</Code><Message>{escape(message or usual_message)}</Message>"
        f"<Resource>{xml_text(resource)}</Resource></Error>",
    )


def xml_response(status: int, document: str) -> Response:
    """A document with its declaration."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode()
    return Response(status, (("Content-Type", "application/xml"),), body)


def xml_text(text: str) -> str:
    """Text that XML 1.0 can hold: what it cannot (control characters, lone surrogates) becomes the replacement character."""
    clean = "".join(
        mark if mark in "\t\n\r" or (mark >= " " and not "\ud800" <= mark <= "\udfff") else "\ufffd" for mark in text
    )
    return escape(clean)
