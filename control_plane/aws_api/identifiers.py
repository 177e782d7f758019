"""The identifiers that the service hands out (reference 1.1), drawn from the caller's source of randomness, and entity tags."""

import random
import re
import string
import uuid

from control_plane.aws_api.errors import ApiError

ACCOUNT_ID = "000000000000"
"""The lab has one account."""

_UPPER = string.ascii_uppercase + string.digits
_LOWER = string.ascii_lowercase + string.digits
_ENTITY_TAG = re.compile('"?(E[A-Z0-9]{1,31})"?')


def new_distribution_id(rng: random.Random) -> str:
    """`E` and 13 characters."""
    return "E" + _draw(rng, _UPPER)


def new_domain_name(rng: random.Random, zone: str) -> str:
    """`d` and 13 characters, in the lab's zone instead of cloudfront.net."""
    return f"d{_draw(rng, _LOWER)}.{zone}"


def new_invalidation_id(rng: random.Random) -> str:
    """`I` and 13 characters."""
    return "I" + _draw(rng, _UPPER)


def new_entity_tag(rng: random.Random) -> str:
    """What `If-Match` must repeat; a new one with each change."""
    return "E" + _draw(rng, _UPPER)


def new_uuid(rng: random.Random) -> str:
    """For policies and requests."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def distribution_arn(distribution_id: str) -> str:
    """Without a region: CloudFront is global."""
    return f"arn:aws:cloudfront::{ACCOUNT_ID}:distribution/{distribution_id}"


def check_if_match(if_match: str | None, entity_tag: str) -> None:
    """Refuse a change to something that has changed since the caller read it (reference 1.1)."""
    said = _ENTITY_TAG.fullmatch(if_match or "")
    if said is None:
        raise ApiError(
            "InvalidIfMatchVersion",
            "The If-Match version is missing or not valid for the resource: send the ETag of the last Get.",
        )
    if said[1] != entity_tag:
        raise ApiError(
            "PreconditionFailed",
            "The request failed because it didn't meet the preconditions in one or more request-header fields: "
            f"If-Match is {said[1]}, the resource has changed since.",
        )


def _draw(rng: random.Random, alphabet: str) -> str:
    return "".join(rng.choices(alphabet, k=13))
