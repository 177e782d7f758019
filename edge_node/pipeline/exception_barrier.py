"""Exceptions that nobody expected end here: each is logged and counted, and costs the request in which it happened, never the node.

Whoever can tell which viewer waits cuts that connection, which is the only honest end of an answer in an unknown state. What nobody has caught arrives at
`guard`, which is around every task of the node, or at `loop_failed`, the exception handler of the event loop, which gets those of callbacks.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from edge_node.model.counters import Counters
from edge_node.model.errors import Fault, ViewerError

logger = logging.getLogger(__name__)


class ExceptionBarrier:
    """Counts and logs what should not have happened."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def note(self, what: str, cut: Callable[[], None] | None = None) -> None:
        """Of the exception that is being handled; `cut` ends the answer that it has stopped."""
        self._counters.internal_errors += 1
        logger.error("internal error %s", what, exc_info=True)  # noqa: LOG014 - in a handler, always
        if cut is not None:
            try:
                cut()
            except Exception:
                logger.exception("internal error while cutting a connection")

    def note_refusal(self, error: ViewerError) -> None:
        """A request is refused before it is understood; that is a mistake of this program if it failed while it read it, and has logged that."""
        self._counters.internal_errors += error.fault is Fault.INTERNAL

    async def guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of a task; it does not fail, but it may be cancelled."""
        try:
            await work
        except Exception:
            self.note("in a task")

    def loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """See `loop.set_exception_handler`. Sockets that fail come here too, and are nobody's mistake."""
        error = context.get("exception")
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self._counters.internal_errors += 1
        loop.default_exception_handler(context)
