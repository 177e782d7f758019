"""Resources have revisions and refer to each other; cache policies, of which distributions carried copies, are resources of their own.

Entries of before cannot be read any more. The log goes on at the next index with another history, so that every node gets a snapshot, also one of before.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from google.protobuf.unknown_fields import UnknownFieldSet

from proto.cdn.v1 import configuration_pb2

revision = "0003"
down_revision = "0002"

_DISTRIBUTION, _ROUTING_TABLE, _GEO_TABLE, _CACHE_POLICY = 1, 2, 3, 4
_KINDS_BEFORE = {"distribution": _DISTRIBUTION, "routing_table": _ROUTING_TABLE, "geo_table": _GEO_TABLE}
_COPIED_POLICY_FIELD = 5
"""Of a behavior."""


def upgrade() -> None:
    """From resources without revisions."""
    connection = op.get_bind()
    head = _head(connection)
    before = sa.table("resources", sa.column("kind"), sa.column("identifier"), sa.column("resource"))
    old = connection.execute(sa.select(before.c.kind, before.c.identifier, before.c.resource)).all()
    for name in ("log", "digests"):
        connection.execute(sa.table(name).delete())
    op.drop_table("resources")
    resources, references = _create_tables()
    if head is None:
        return
    digest = hashlib.blake2b(b"resources with revisions" + secrets.token_bytes(16), digest_size=16).digest()
    connection.execute(_digests().insert().values(index=head, digest=digest))
    separated = {separate[:2]: (number, *separate) for number, separate in enumerate(_separated(old), 1)}
    for number, kind, identifier, body, targets in separated.values():
        # Revisions apart, so that one which a node refuses is refused alone.
        row = {"kind": kind, "identifier": identifier, "revision": min(number, head), "body": body}
        connection.execute(resources.insert().values(row))
        for target in targets:
            connection.execute(references.insert().values((kind, identifier, _CACHE_POLICY, target)))


def _head(connection: sa.Connection) -> int | None:
    log = sa.table("log", sa.column("index"))
    indexes = sa.union_all(sa.select(log.c.index), sa.select(_digests().c.index)).subquery()
    head: int | None = connection.execute(sa.select(sa.func.max(indexes.c.index))).scalar_one()
    return head


def _digests() -> sa.TableClause:
    return sa.table("digests", sa.column("index"), sa.column("digest"))


def _separated(old: Iterable[Sequence[Any]]) -> Iterator[tuple[int, str, bytes, list[str]]]:
    """Resources as they are now, each with the ids of the policies that it refers to."""
    for kind_name, identifier, body in old:
        kind = _KINDS_BEFORE[kind_name]
        if kind != _DISTRIBUTION:
            yield kind, identifier, body, []
            continue
        distribution = configuration_pb2.Distribution.FromString(body)
        policies = {}
        for behavior in (distribution.default_behavior, *distribution.behaviors):
            for unknown in UnknownFieldSet(behavior):  # type: ignore[attr-defined]  # the stubs do not know that it is a sequence
                if unknown.field_number == _COPIED_POLICY_FIELD:
                    policy = configuration_pb2.CachePolicy.FromString(unknown.data)
                    behavior.cache_policy_id = policy.id
                    policies[policy.id] = policy.SerializeToString(deterministic=True)
        distribution.DiscardUnknownFields()
        for policy_id, policy_body in policies.items():
            yield _CACHE_POLICY, policy_id, policy_body, []
        yield kind, identifier, distribution.SerializeToString(deterministic=True), sorted(policies)


def _create_tables() -> tuple[sa.Table, sa.Table]:
    log_index = sa.Integer().with_variant(sa.BigInteger, "postgresql")
    resources = op.create_table(
        "resources",
        sa.Column("kind", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("identifier", sa.String, primary_key=True),
        sa.Column("revision", log_index, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    references = op.create_table(
        "resource_references",
        sa.Column("kind", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("identifier", sa.String, primary_key=True),
        sa.Column("target_kind", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("target_identifier", sa.String, primary_key=True),
    )
    op.create_index("references_by_target", "resource_references", ["target_kind", "target_identifier"])
    return resources, references
