"""`agent/` in the state folder: which process is the lab's agent, where it listens, and the token that it asks for.

The files are there before the agent is started. Who starts it writes down which process that is; the agent writes itself and its watchdog into a record of
its own. Whoever takes the lab down ends all of them. What they do is lab/agent's.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.cluster.process_identity import ProcessIdentity
from lab.cluster.secret_files import write_secret
from lab.errors import LabError

FOLDER = "agent"
_RECORD, _STARTED, _TOKEN = "agent.json", "started.json", "token"
_LOG, _JOURNAL, _CLOCK, _LOCK = "log", "faults", "clock.json", "lock"
_TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """Nothing of it is there until the agent has got as far as that."""

    address: str = ""
    agent: ProcessIdentity | None = None
    watchdog: ProcessIdentity | None = None

    @property
    def is_alive(self) -> bool:
        return self.agent is not None and self.agent.is_alive


@dataclass(frozen=True, slots=True)
class AgentFolder:
    """Its files."""

    state: Path

    @property
    def path(self) -> Path:
        return self.state / FOLDER

    @property
    def log(self) -> Path:
        return self.path / _LOG

    @property
    def journal(self) -> Path:
        return self.path / _JOURNAL

    @property
    def clock(self) -> Path:
        """How far the lab's clock is ahead; there once it has been moved."""
        return self.path / _CLOCK

    @property
    def lock(self) -> Path:
        return self.path / _LOCK

    def make(self) -> None:
        """With a token and an empty record, unless they are there. LabError when the system refuses."""
        try:
            for each in (self.path, self.journal):  # never the folder of a lab that has just been taken down
                each.mkdir(exist_ok=True, mode=0o700)
            if not (self.path / _TOKEN).exists():
                self._replace(_TOKEN, secrets.token_hex(_TOKEN_BYTES))
            if not (self.path / _RECORD).exists():
                self.write(AgentRecord())
        except OSError as error:
            raise LabError(f"{self.path} cannot be written: {error.strerror}") from error

    def token(self) -> str:
        """LabError when there is none."""
        try:
            return (self.path / _TOKEN).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise LabError(f"the token of the agent cannot be read: {error}") from error

    def write(self, record: AgentRecord) -> None:
        self._replace(_RECORD, json.dumps(asdict(record)) + "\n")

    def read(self) -> AgentRecord:
        """An empty one when there is none, or it cannot be understood."""
        try:
            document = json.loads((self.path / _RECORD).read_text(encoding="utf-8"))
            agent, watchdog = (_identity(document[name]) for name in ("agent", "watchdog"))
            return AgentRecord(str(document["address"]), agent, watchdog)
        except (OSError, ValueError, KeyError, TypeError):
            return AgentRecord()

    def write_started(self, process: ProcessIdentity) -> None:
        """By whoever has started it, which may be before or after it has written its record."""
        self._replace(_STARTED, json.dumps(asdict(process)) + "\n")

    def running(self) -> list[ProcessIdentity]:
        """Agent and watchdog, as far as anybody has written them down."""
        record = self.read()
        found = dict.fromkeys((record.agent, record.watchdog, self._started()))
        return [each for each in found if each is not None and each.is_alive]

    def _started(self) -> ProcessIdentity | None:
        try:
            return _identity(json.loads((self.path / _STARTED).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _replace(self, name: str, text: str) -> None:
        fresh = self.path / f"{name}.{os.getpid()}"
        write_secret(fresh, text.encode())
        os.replace(fresh, self.path / name)


def _identity(document: dict[str, str | int] | None) -> ProcessIdentity | None:
    return ProcessIdentity(int(document["pid"]), str(document["started"])) if document else None
