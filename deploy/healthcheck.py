"""Is the program in this container ready? `python -IS healthcheck.py PORT [PATH]` asks GET /readyz on its admin port.

Run by the engine twice a second while the lab starts, in every container, so it imports sockets only (16 ms of
CPU instead of the 80 ms of urllib). What ready means is decided by the program (docs/contracts.md).
"""

import socket
import sys

# Below the health check's own timeout in compose.yaml, so that the reason is in the engine's record.
TIMEOUT_SECONDS = 2.0


def main(port: int, path: str = "/readyz") -> str | None:
    """Nothing when ready, else the reason."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = connection.recv(1024)
    return None if answer.split(b" ", 2)[1:2] == [b"200"] else answer.decode("latin-1") or "closed without an answer"


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]), *sys.argv[2:3]))
    except OSError as error:
        sys.exit(f"port {sys.argv[1]}: {error}")
