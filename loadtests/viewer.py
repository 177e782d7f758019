"""How a browser gets a request answered: resolve, connect to the address it got, keep alive, fail over.

The rules, in the order in which they are tried:
1. An idle connection to an address of the current answer. If it turns out dead before any byte of a response, the
   request is sent once more on a fresh connection to the same address (RFC 9110 section 9.2.2, idempotent methods).
2. Refused, reset or silent before any byte: the next address of the answer.
3. All addresses tried: resolve again, once, and try what is new or old in that answer.
4. Only then, or when the response itself is wrong (5xx, cut short), it is a failure.
A connection to an address that left the answer is not used again: a lab's minute stands for a browser's hour.
"""

import time
from random import Random

from gevent.lock import BoundedSemaphore

from loadtests.connection import (
    BrokenResponseError,
    ConnectError,
    Connection,
    NoResponseError,
    Request,
    Response,
    Timeouts,
)
from loadtests.name_resolution import ResolutionError, Resolver
from loadtests.plan import LoadPlan
from loadtests.workload import Population, client_address

# What browsers open to one host over HTTP/1.1.
CONNECTIONS_PER_HOST = 6


class ViewerError(Exception):
    """The viewer saw an error. `address` is where the last attempt went, `response` what came, if anything did."""

    def __init__(self, message: str, address: str = "", response: Response | None = None) -> None:
        super().__init__(message)
        self.address = address
        self.response = response


class Viewer:
    """One person's browser: an address in a client subnet, a resolver, and a few connections."""

    def __init__(self, plan: LoadPlan, population: Population, rng: Random, timeouts: Timeouts | None = None) -> None:
        self._port = plan.viewer_port
        self._host = plan.host_header
        self._timeouts = timeouts or Timeouts()
        self._idle: list[Connection] = []
        self._slots = BoundedSemaphore(CONNECTIONS_PER_HOST)
        self._source = client_address(population.source, rng) if population.source else ""
        subnet_address = client_address(population.client_subnet, rng)
        self._resolver = Resolver(plan.dns, plan.domain_name, subnet_address, rng, self._source)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def fetch(self, request: Request) -> Response:
        """A whole response below 500, or ViewerError."""
        with self._slots:
            response = self._fetch(request)
        if response.status >= 500:
            raise ViewerError(f"status {response.status}", response.address, response)
        return response

    def _fetch(self, request: Request) -> Response:
        problems: list[str] = []
        address = ""
        for _ in range(2):  # rule 3: the answer in hand, then a new one
            try:
                addresses = self._resolver.addresses(time.monotonic())
            except ResolutionError as error:
                raise ViewerError("; ".join([*problems, str(error)]), address) from error
            self._drop_connections_outside(addresses)
            for address in addresses:
                try:
                    return self._attempt(address, request)
                except (ConnectError, NoResponseError) as error:
                    problems.append(str(error))
                    if isinstance(error, NoResponseError) and not request.is_idempotent:
                        raise ViewerError(str(error), address) from error
                except BrokenResponseError as error:
                    raise _failure_of(error, address) from error
            self._resolver.forget()
        raise ViewerError("; ".join(problems), address)

    def _attempt(self, address: str, request: Request) -> Response:
        connection = self._take_idle(address)
        if connection is not None and request.is_idempotent:
            try:
                return self._exchange(connection, request)
            except NoResponseError as error:  # rule 1
                if error.is_silent:
                    raise
        elif connection is not None:
            # Whether a kept connection still lives is known only after sending: other methods get a fresh one.
            connection.close()
        return self._exchange(Connection(address, self._port, self._timeouts, self._source), request)

    def _exchange(self, connection: Connection, request: Request) -> Response:
        response = connection.exchange(request, self._host)
        if connection.is_open:
            self._idle.append(connection)
        return response

    def _take_idle(self, address: str) -> Connection | None:
        """The last one used: the others age and go, as in a browser."""
        for position in range(len(self._idle) - 1, -1, -1):
            if self._idle[position].address == address:
                return self._idle.pop(position)
        return None

    def _drop_connections_outside(self, addresses: tuple[str, ...]) -> None:
        for connection in [each for each in self._idle if each.address not in addresses]:
            self._idle.remove(connection)
            connection.close()


def _failure_of(error: BrokenResponseError, address: str) -> ViewerError:
    if error.head is None:
        return ViewerError(str(error), address)
    return ViewerError(
        str(error), address, Response(error.head.status, error.head.headers, b"", error.received_bytes, address)
    )
