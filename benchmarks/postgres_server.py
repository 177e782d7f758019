"""A real PostgreSQL, for benchmarks and for tests, on a folder that is removed afterwards. Debian's package has the programs; `.ci/run` installs it where it may."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

START_SECONDS = 30.0
SETTINGS = {"max_connections": "100", "shared_buffers": "32MB"}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}
"""For tests: none kills the server, or the machine."""


class NoPostgresError(Exception):
    """There is none here; the message says how to get it."""


def find(program: str) -> str | None:
    """Debian puts the programs of each version in a folder of its own."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(program, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, reached over a socket in its folder and over TCP."""

    folder: Path
    host: str
    port: int

    def address(self, database: str) -> str:
        """Over TCP, as nodes of a cluster would."""
        return f"postgresql://cdnlab@{self.host}:{self.port}/{database}"

    def create(self) -> str:
        """A new and empty database; its address."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def drop(self, address: str) -> None:
        """Also when somebody is connected."""
        self.execute(f"DROP DATABASE {address.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def running_server(host: str, port: int, more_settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Until the block ends; nothing is left of it. It refuses to run as root, so there it runs as nobody. NoPostgresError."""
    initdb, postgres = find("initdb"), find("postgres")
    if initdb is None or postgres is None:
        raise NoPostgresError("there is no PostgreSQL: on Debian, apt install postgresql")
    as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="cdnlab-postgres-"))
    try:
        if as_user:
            shutil.chown(folder, "nobody", "nogroup")
        data = folder / "data"
        command = [
            initdb,
            "--pgdata",
            str(data),
            "--username",
            "cdnlab",
            "--auth",
            "trust",
            "--no-sync",
            "--locale",
            "C",
        ]
        subprocess.run([*command, "--encoding", "UTF8"], check=True, capture_output=True, cwd=folder, **as_user)  # type: ignore[call-overload]
        settings = (
            SETTINGS
            | dict(more_settings or {})
            | {"listen_addresses": host, "port": str(port), "unix_socket_directories": str(folder)}
        )
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([postgres, "-D", str(data), *flags], stderr=log, cwd=folder, **as_user)  # type: ignore[call-overload]
        try:
            server = Server(folder, host, port)
            _wait_until_ready(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(server: Server, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError:
            log = (server.folder / "log").read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None and time.monotonic() < deadline, log
            time.sleep(0.02)
        else:
            return
