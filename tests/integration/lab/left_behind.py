"""What a lab has left on this machine, looked for without the lab's own code: processes by their environment and command line, sockets of its addresses, files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

_TABLES = ("tcp", "udp")
_LISTENING = "0A"
"""Of TCP in /proc/net (net/tcp_states.h); UDP sockets have no such state and are all looked at."""


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    letter: str
    """Of its state, as in proc(5): T is stopped."""
    command: str
    parent: int


def processes_of(folder: Path) -> list[Process]:
    """Those that carry the folder in their environment, or name it on their command line; not those that have ended and wait to be collected."""
    found = (_process(int(name), str(folder).encode()) for name in os.listdir("/proc") if name.isdigit())
    return [each for each in found if each is not None and each.pid != os.getpid()]


def _process(pid: int, folder: bytes) -> Process | None:
    place = Path(f"/proc/{pid}")
    try:
        command, environment = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        fields = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX" or (folder not in command and b"CDNLAB_STATE_FOLDER=" + folder + b"\0" not in environment):
        return None
    return Process(pid, fields[0], command.replace(b"\0", b" ").decode(errors="replace").strip(), int(fields[1]))


def sockets_in(loopback: str) -> list[str]:
    """Addresses of the range that somebody listens on."""
    return [
        f"{table} {address}:{port}"
        for table, address, port in _sockets()
        if IPv4Network(f"{address}/32").subnet_of(IPv4Network(loopback))
    ]


def _sockets() -> Iterator[tuple[str, str, int]]:
    for table in _TABLES:
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if table == "tcp" and state != _LISTENING:
                continue
            host, _, port = local.partition(":")
            yield table, ".".join(str(each) for each in reversed(bytes.fromhex(host))), int(port, 16)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
