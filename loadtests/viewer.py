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
from collections.abc import Callable
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
from loadtests.exchange import Exchange, ExchangeSoFar
from loadtests.name_resolution import ResolutionError, Resolver
from loadtests.plan import LoadPlan
from loadtests.workload import Population, client_address
from proto.host_clock import host_nanoseconds

# What browsers open to one host over HTTP/1.1.
CONNECTIONS_PER_HOST = 6

Connect = Callable[[str, int, Timeouts, str], Connection]
"""To an address and port, with this patience, from an address of one's own or from any."""


class _UnansweredError(Exception):
    """No address gave a byte of an answer; the message says why, for each attempt."""


class Viewer:
    """One person's browser: an address in a client subnet, a resolver, and a few connections."""

    def __init__(self, plan: LoadPlan, population: Population, rng: Random, timeouts: Timeouts | None = None) -> None:
        self._port = plan.viewer_port
        self._host = plan.host_header
        self._timeouts = timeouts or Timeouts()
        self._idle: list[Connection] = []
        self.connect: Connect = Connection
        """How it opens a connection."""
        self._slots = BoundedSemaphore(CONNECTIONS_PER_HOST)
        self._source = client_address(population.source, rng) if population.source else ""
        self.client_address = client_address(population.client_subnet, rng)
        """That its resolver tells the router."""
        self._resolver = Resolver((plan.dns, *plan.more_dns), plan.domain_name, self.client_address, rng, self._source)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def fetch(self, request: Request) -> Exchange:
        """With all its attempts; that it went wrong is part of what is returned."""
        course = ExchangeSoFar()
        response: Response | None = None
        with self._slots:
            try:
                response = self._fetch(request, course)
                error = f"status {response.status}" if response.status >= 500 else ""
            except BrokenResponseError as broken:
                response, error = broken.response, str(broken)
            except _UnansweredError as unanswered:
                error = str(unanswered)
        return course.over(response, error, host_nanoseconds())

    def _fetch(self, request: Request, course: ExchangeSoFar) -> Response:
        """_UnansweredError, or BrokenResponseError."""
        problems: list[str] = []
        for _ in range(2):  # rule 3: the answer in hand, then a new one
            try:
                answer = self._resolver.answer(time.monotonic())
            except ResolutionError as error:
                raise _UnansweredError("; ".join([*problems, str(error)])) from error
            self._drop_connections_outside(answer.addresses)
            course.answer = answer
            for address in answer.addresses:
                course.address = address
                try:
                    return self._attempt(address, request, course)
                except (ConnectError, NoResponseError) as error:
                    problems.append(str(error))
                    if isinstance(error, NoResponseError) and not request.is_idempotent:
                        raise _UnansweredError(str(error)) from error
            self._resolver.forget()
        raise _UnansweredError("; ".join(problems))

    def _attempt(self, address: str, request: Request, course: ExchangeSoFar) -> Response:
        course.attempt(host_nanoseconds())
        connection = self._take_idle(address)
        if connection is not None and request.is_idempotent:
            try:
                return self._exchange(connection, request)
            except NoResponseError as error:  # rule 1
                if error.is_silent:
                    raise
                course.attempt(host_nanoseconds())
        elif connection is not None:
            # Whether a kept connection still lives is known only after sending: other methods get a fresh one.
            connection.close()
        return self._exchange(self.connect(address, self._port, self._timeouts, self._source), request)

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
