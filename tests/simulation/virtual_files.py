"""State files in memory: of a process that is started again and again."""

from random import Random
from typing import Final, TypeVar

from google.protobuf.message import Message

from proto.state_files import StateFiles, StateFileStatistics

NOT_VOUCHED_FOR: Final = frozenset({"directory.binpb", "known-peers.binpb"})
"""Kept as well as may be: what a node lacks of them, it has never known."""

_Message = TypeVar("_Message", bound=Message)


class VirtualFiles(StateFiles):
    """On a disk that survives the process, and may be full."""

    def __init__(self) -> None:
        self.statistics = StateFileStatistics()
        self.contents: dict[str, bytes] = {}
        self.folders: dict[str, VirtualFiles] = {}
        self.is_full = False

    def copy_from(self, other: "VirtualFiles") -> None:
        """Have everything that another folder has."""
        self.contents = dict(other.contents)
        for name, folder in other.folders.items():
            self.inside(name).copy_from(folder)

    def damage(self, rng: Random) -> None:
        """Nothing is left of one of the files that vouch for the others."""
        folder = rng.choice([self, *self.folders.values()])
        names = sorted(folder.contents.keys() - NOT_VOUCHED_FOR)
        if names:
            del folder.contents[rng.choice(names)]

    def read_message(self, name: str, message: _Message) -> _Message | None:
        """See StateFiles."""
        content = self.contents.get(name)
        if content is None:
            return None
        message.ParseFromString(content)
        return message

    def write(self, name: str, content: bytes, *, is_durable: bool = True) -> None:
        """See StateFiles."""
        if self.is_full:
            self.statistics.unwritten.add(name)
            raise OSError("no space left on device")
        self.contents[name] = content
        self.statistics.unwritten.discard(name)

    def names(self) -> list[str]:
        """See StateFiles."""
        return sorted([*self.contents, *self.folders])

    def inside(self, name: str) -> "VirtualFiles":
        """See StateFiles. As full as this one."""
        folder = self.folders.setdefault(name, VirtualFiles())
        folder.is_full = self.is_full
        return folder

    def remove(self, name: str) -> None:
        """See StateFiles."""
        self.contents.pop(name, None)

    def remove_folder(self, name: str) -> None:
        """See StateFiles."""
        self.folders.pop(name, None)
