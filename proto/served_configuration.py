"""Which version of each resource a node serves: the newest that it can honour, of those that it has (DESIGN section 3). Pure.

Rules that live here. A resource that cannot be honoured leaves the node on its last good version of it, whether it came in an entry, in a snapshot, or was found on disk
by another version of the program. What came in one entry holds or fails as a whole. A change that a served resource could not live with, such as the end of a policy that
a distribution refers to, is refused for its sake. What was refused is kept and tried again with each change, and at each start, so that a node which has learned more, or
has got what was missing, serves it without being told again.

What the values are, and what can be honoured, say the `Kinds` of a program. When files are written is the business of `control/client.py` and `applier.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.rejected_changes import NOTHING_REJECTED, RejectedChanges, rejected_change
from proto.resources import (
    ResourceName,
    changed_name,
    checksum_of,
    delete_change,
    name_of,
    put_change,
    total_checksum,
)

Values = Mapping[ResourceName, object]

_Body = TypeVar("_Body", bound=Message)


class UnusableResourceError(Exception):
    """This program cannot serve from the resource; the text says why, and becomes the reason of a rejection."""


def reading(body: type[_Body], read: Callable[[_Body, Values], object]) -> Callable[[Message, Values], object]:
    """A function over bodies of one type, as a row has it."""

    def checked(message: Message, references: Values) -> object:
        if not isinstance(message, body):
            raise TypeError(f"a {type(message).__name__} in place of a {body.__name__}")
        return read(message, references)

    return checked


def no_references(_message: Message) -> Sequence[ResourceName]:
    """Of a kind that refers to nothing."""
    return ()


@dataclass(frozen=True, slots=True)
class Kind:
    """How a program serves from resources of one kind."""

    message: Callable[[], Message]
    """An empty body."""
    read: Callable[[Message, Values], object]
    """What the program serves from, given what the body refers to. UnusableResourceError when it cannot."""
    references: Callable[[Message], Sequence[ResourceName]] = no_references
    """What the body refers to. These are of kinds that stand earlier in the table."""
    is_seen_by_itself: bool = True
    """False: a resource of it means something only to what refers to it. It then comes and ends by itself, whatever becomes of the entry that says so: others may refer
    to a new one, and its end is put off for as long as something that is served refers to it, without keeping anything else alive."""


Kinds = Mapping[int, Kind]
"""One row for each kind that the program knows, by number; those that others refer to come first."""


@dataclass(frozen=True, slots=True)
class Served:
    """A resource in use."""

    resource: sync_pb2.Resource
    value: object
    references: Values
    """What it refers to, as it was read with it."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a node serves from, as of one position. An immutable value: a change of it is another one."""

    position: LogPosition = field(default_factory=LogPosition)
    served: Mapping[ResourceName, Served] = field(default_factory=lambda: MappingProxyType({}))
    rejected: RejectedChanges = field(default_factory=lambda: NOTHING_REJECTED)
    """What is not served in its newest version."""
    checksum: int = 0
    """Of the newest version of everything, those that are refused as well: what the log amounts to for this node."""

    def values(self, kind: int) -> dict[str, object]:
        """What is served of one kind, by id."""
        return {name.identifier: served.value for name, served in self.served.items() if name.kind == kind}

    def value(self, name: ResourceName) -> object | None:
        """What is served under one name."""
        served = self.served.get(name)
        return None if served is None else served.value


@dataclass(frozen=True, slots=True)
class _Version:
    """The newest of one resource: as it was put, or None where it was deleted, by the entry at `index`."""

    index: int
    resource: sync_pb2.Resource | None


def with_entry(before: Configuration, entry: sync_pb2.Entry, kinds: Kinds) -> Configuration:
    """The configuration after an entry. The index advances also past what is refused."""
    position = LogPosition(entry.log_id, entry.index, entry.digest)
    if not entry.changes:
        return replace(before, position=position)
    newest, checksum = _newest(before), before.checksum
    for change in entry.changes:
        name = changed_name(change)
        version = _version(change, entry.index)
        checksum += _checksum(version) - _checksum(newest.get(name))
        newest[name] = version
    return _resolved(_At(position, total_checksum([checksum])), newest, before, kinds)


def from_snapshot(snapshot: sync_pb2.Snapshot, before: Configuration, kinds: Kinds) -> Configuration:
    """Everything anew; a resource that cannot be honoured is as `before` has it, if that is of the same log."""
    if before.position.log_id != snapshot.log_id:
        before = Configuration()
    newest = {
        name: _Version(snapshot.index, None) for name in before.served if not _is_seen_by_itself(name, kinds)
    }  # what stays on its version of before may need them, although the newest versions do not
    newest |= {name_of(resource): _of_snapshot(resource, before) for resource in snapshot.resources}
    position = LogPosition(snapshot.log_id, snapshot.index, snapshot.digest)
    return _resolved(_At.all_of(position, newest), newest, before, kinds)


def from_kept(position: LogPosition, kept: Iterable[sync_pb2.KeptResource], kinds: Kinds) -> Configuration:
    """What a process finds of the one before it. What that one refused is served if this program can honour it; else it is refused as it was."""
    known = [(ResourceName(int(each.name.kind), each.name.id), each) for each in kept]
    unread = {
        name: Served(each.served, None, _NEVER_READ) for name, each in known if each.HasField("served")
    }  # so that each is read anew
    rejected = {name: each.rejected for name, each in known if each.HasField("rejected")}
    before = Configuration(position, unread, rejected)
    newest = _newest(before)
    return _resolved(_At.all_of(position, newest), newest, before, kinds)


def tried_again(before: Configuration, kinds: Kinds) -> Configuration:
    """With what was refused, as far as it can be honoured now."""
    return _resolved(_At(before.position, before.checksum), _newest(before), before, kinds)


def kept_resource(configuration: Configuration, name: ResourceName) -> sync_pb2.KeptResource:
    """What has to be on disk of one resource; neither served nor rejected when it is gone."""
    served = configuration.served.get(name)
    kept = sync_pb2.KeptResource(
        served=None if served is None else served.resource, rejected=configuration.rejected.get(name)
    )
    kept.name.kind, kept.name.id = sync_pb2.ResourceKind.ValueType(name.kind), name.identifier
    return kept


def changed_names(before: Configuration, after: Configuration) -> set[ResourceName]:
    """Of what something else has to be on disk."""
    names = before.served.keys() | after.served.keys() | before.rejected.keys() | after.rejected.keys()
    return {
        name
        for name in names
        if _resource(before, name) is not _resource(after, name)
        or before.rejected.get(name) is not after.rejected.get(name)
    }


_NEVER_READ: Final[Values] = {ResourceName(-1): object()}
"""Never current."""


@dataclass(frozen=True, slots=True)
class _At:
    """Where a configuration stands."""

    position: LogPosition
    checksum: int

    @classmethod
    def all_of(cls, position: LogPosition, newest: Mapping[ResourceName, _Version]) -> "_At":
        """With the checksum of these."""
        return cls(position, total_checksum(map(_checksum, newest.values())))


def _checksum(version: _Version | None) -> int:
    return 0 if version is None or version.resource is None else checksum_of(version.resource)


def _resource(configuration: Configuration, name: ResourceName) -> sync_pb2.Resource | None:
    served = configuration.served.get(name)
    return None if served is None else served.resource


def _newest(configuration: Configuration) -> dict[ResourceName, _Version]:
    newest = {
        name: _Version(served.resource.revision, served.resource) for name, served in configuration.served.items()
    }
    for name, refused in configuration.rejected.items():
        newest[name] = _version(refused.change, refused.rejection.index)
    return newest


def _version(change: sync_pb2.Change, index: int) -> _Version:
    """With a resource of its own: one that is a part of a message keeps all of it in memory."""
    if not change.HasField("put"):
        return _Version(index, None)
    return _Version(index, _copied(change.put))


def _of_snapshot(resource: sync_pb2.Resource, before: Configuration) -> _Version:
    known = _resource(before, name_of(resource))
    return _Version(resource.revision, known if known == resource else _copied(resource))


def _is_seen_by_itself(name: ResourceName, kinds: Kinds) -> bool:
    kind = kinds.get(name.kind)
    return kind is None or kind.is_seen_by_itself


def _copied(resource: sync_pb2.Resource) -> sync_pb2.Resource:
    copied = sync_pb2.Resource()
    copied.CopyFrom(resource)
    return copied


def _resolved(at: _At, newest: Mapping[ResourceName, _Version], before: Configuration, kinds: Kinds) -> Configuration:
    choice = _Choice(newest, before, kinds)
    served = choice.served()
    return Configuration(at.position, served, _rejected(choice.refused, newest, before.rejected), at.checksum)


def _are_current(references: Values, values: Values) -> bool:
    return all(values.get(target) is value for target, value in references.items())


def _rejected(
    refused: Mapping[ResourceName, str], newest: Mapping[ResourceName, _Version], before: RejectedChanges
) -> RejectedChanges:
    """As mappings of their own; what was refused before keeps its reason, and is the same object."""
    rejected = {name: _still_rejected(name, newest[name], reason, before) for name, reason in refused.items()}
    is_same = rejected.keys() == before.keys() and all(rejected[name] is before[name] for name in rejected)
    return before if is_same else rejected


def _still_rejected(
    name: ResourceName, version: _Version, reason: str, before: RejectedChanges
) -> sync_pb2.RejectedChange:
    known = before.get(name)
    change = delete_change(name) if version.resource is None else put_change(version.resource)
    if known is not None and known.rejection.index == version.index and known.change == change:
        return known  # on another history of the log there may be something else at this index
    return rejected_change(change, version.index, reason)


class _Choice:
    """One search for versions that can be served together. Each resource goes from its newest version to the one before, and from there to none, so the search ends."""

    def __init__(self, newest: Mapping[ResourceName, _Version], before: Configuration, kinds: Kinds) -> None:
        self._newest = newest
        self._before = before
        self._kinds = kinds
        self._chosen = {name: v.resource for name, v in newest.items() if v.resource is not None}
        self.refused: dict[ResourceName, str] = {}
        """Why the newest version is not served."""
        self._unrefused: dict[int, list[ResourceName]] = {}
        """By the index of an entry of which nothing is refused, what came in it."""
        for name, version in newest.items():
            self._unrefused.setdefault(version.index, []).append(name)

    def served(self) -> dict[ResourceName, Served]:
        """What is served, once nothing fails."""
        while True:
            served, failures = self._read_all()
            if not failures:
                return served
            if not self._refuse_culprits(failures):
                self._give_way(failures)

    def _read_all(self) -> tuple[dict[ResourceName, Served], dict[ResourceName, str]]:
        served: dict[ResourceName, Served] = {}
        failures: dict[ResourceName, str] = {}
        values: dict[ResourceName, object] = {}
        for name in self._in_order():
            try:
                read = self._read(name, values, failures)
            except UnusableResourceError as error:
                failures[name] = str(error)
            else:
                if read is not None:
                    served[name] = read
                    values[name] = read.value
        return served, failures

    def _in_order(self) -> Iterator[ResourceName]:
        """What is referred to comes first."""
        by_kind: dict[int, list[ResourceName]] = {kind: [] for kind in self._kinds}
        for name in self._chosen:
            by_kind.setdefault(name.kind, []).append(name)
        for names in by_kind.values():
            yield from names

    def _read(self, name: ResourceName, values: Values, failures: Mapping[ResourceName, str]) -> Served | None:
        """None when that has to wait for something else to be served in place of what it refers to."""
        resource = self._chosen[name]
        known = self._before.served.get(name)
        if known is not None and known.resource is resource and _are_current(known.references, values):
            return known
        kind, message = self._parsed(resource)
        targets = kind.references(message)
        if any(target in failures for target in targets):
            return None
        references = {target: values[target] for target in targets if target in values}
        return Served(resource, kind.read(message, references), references)

    def _parsed(self, resource: sync_pb2.Resource) -> tuple[Kind, Message]:
        kind = self._kinds.get(int(resource.kind))
        if kind is None:
            raise UnusableResourceError(f"this node does not know resources of kind {resource.kind}")
        message = kind.message()
        try:
            message.ParseFromString(resource.body)
        except DecodeError as error:
            raise UnusableResourceError(f"it cannot be read: {error}") from error
        return kind, message

    def _refuse_culprits(self, failures: Mapping[ResourceName, str]) -> bool:
        """Of what is to be as it was before and fails now, the changes that it fails with; whether there are any. Others may then not fail any more."""
        culprits = {
            culprit: f"{name} cannot be served with it: {reason}"
            for name, reason in failures.items()
            if name in self.refused or self._is_as_before(name)
            for culprit in self._changed_references(name)
        }
        for culprit, reason in culprits.items():
            if culprit not in self.refused:  # else it came with another one
                self._refuse(culprit, reason)
        return bool(culprits)

    def _give_way(self, failures: Mapping[ResourceName, str]) -> None:
        """The version before is served instead of each that failed, or none."""
        tried = {name: self._chosen[name] for name in failures}
        for name, reason in failures.items():
            if self._chosen.get(name) is not tried[name]:
                continue  # it has given way with another one already
            if name in self.refused:
                del self._chosen[name]
            else:
                self._refuse(name, reason)

    def _changed_references(self, name: ResourceName) -> list[ResourceName]:
        try:
            kind, message = self._parsed(self._chosen[name])
        except UnusableResourceError:
            return []
        targets = kind.references(message)
        return [
            each for each in targets if each in self._newest and not (each in self.refused or self._is_as_before(each))
        ]

    def _refuse(self, refused: ResourceName, reason: str) -> None:
        """With all that came in the same entry, unless it is an end that is only put off."""
        self._replace(refused, reason)
        if self._is_unseen_end(refused):
            return
        for name in self._unrefused.pop(self._newest[refused].index, ()):
            if name not in self.refused and not self._is_as_before(name) and not self._is_by_itself(name):
                self._replace(name, f"came with {refused}, which is refused: {reason}")

    def _is_by_itself(self, name: ResourceName) -> bool:
        """Whether the change holds also where others of its entry do not."""
        is_new = _resource(self._before, name) is None and not _is_seen_by_itself(name, self._kinds)
        return is_new or self._is_unseen_end(name)

    def _is_unseen_end(self, name: ResourceName) -> bool:
        return self._newest[name].resource is None and not _is_seen_by_itself(name, self._kinds)

    def _replace(self, name: ResourceName, reason: str) -> None:
        self.refused[name] = reason
        resource = _resource(self._before, name)
        if resource is None or resource is self._newest[name].resource:
            self._chosen.pop(name, None)
        else:
            self._chosen[name] = resource

    def _is_as_before(self, name: ResourceName) -> bool:
        """Whether the newest version says what is served already."""
        newest, before = self._newest[name].resource, _resource(self._before, name)
        return newest is before or (newest is not None and before is not None and newest.body == before.body)
