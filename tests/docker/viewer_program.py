"""What a viewer does, for one question in JSON; run inside a container, so the standard library only.

A name is resolved the way the container resolves any name, and its addresses are tried in turn, as a browser does.
"""

import http.client
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CONNECT_SECONDS = 1.0
READ_SECONDS = 10.0
ANSWER_SECONDS = 4.0


def resolve(name: str) -> list[str]:
    """IPv4 addresses in the order of the answer."""
    found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


def request(
    address: str, port: int, path: str, host: str, method: str, body: str | None, headers: dict[str, str]
) -> dict[str, Any]:
    connection = http.client.HTTPConnection(address, port, timeout=CONNECT_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(READ_SECONDS)
        connection.request(method, path, body, {"Host": host, **headers})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    answer_headers = {name.lower(): value for name, value in response.getheaders()}
    return {
        "address": address,
        "status": response.status,
        "headers": answer_headers,
        "body": content.decode("latin-1"),
    }


def get(name: str, path: str, port: int = 8080) -> dict[str, Any]:
    """From the first address that answers."""
    problems: list[str] = []
    for address in resolve(name):
        try:
            return {**request(address, port, path, f"{name}:{port}", "GET", None, {}), "failed_addresses": problems}
        except OSError as error:
            problems.append(f"{address}: {error}")
    raise SystemExit(f"{name}: no address answered: {problems}")


def connect(host: str, port: int) -> str:
    """`connected`, or why not. On one machine whoever is reachable answers within a millisecond."""
    return _connect(host, port, 0.3)


def connect_each(targets: list[list[Any]], seconds: float) -> list[str]:
    """The same of many at once, with more patience: a relay's kernel answers at once, and what is not there never does."""
    with ThreadPoolExecutor(len(targets)) as pool:
        return list(pool.map(lambda target: _connect(str(target[0]), int(target[1]), seconds), targets))


def _connect(host: str, port: int, seconds: float) -> str:
    try:
        with socket.create_connection((host, port), seconds):
            return "connected"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def answer_each(targets: list[list[Any]]) -> list[str]:
    """The first word that each of many servers says to a request, or why it says nothing."""
    with ThreadPoolExecutor(len(targets)) as pool:
        return list(pool.map(lambda target: _answer(str(target[0]), int(target[1])), targets))


def _answer(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(100).decode("latin-1").partition(" ")[0]
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def time_first_byte(address: str, port: int, path: str, host: str, times: int) -> list[float]:
    """Seconds from before the connect to the first byte of the answer, each over a connection of its own."""
    found = []
    wire = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    for _ in range(times):
        began = time.monotonic()
        with socket.create_connection((address, port), READ_SECONDS) as connection:
            connection.sendall(wire)
            if not connection.recv(1):
                raise SystemExit(f"{address}:{port} has closed without an answer")
            found.append(time.monotonic() - began)
    return found


def main(question: dict[str, Any]) -> Any:
    match question.pop("do"):
        case "resolve":
            return resolve(**question)
        case "get":
            return get(**question)
        case "request":
            return request(**question)
        case "connect":
            return connect(**question)
        case "connect_each":
            return connect_each(**question)
        case "answer_each":
            return answer_each(**question)
        case "time_first_byte":
            return time_first_byte(**question)
        case unknown:
            raise SystemExit(f"cannot {unknown}")


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
