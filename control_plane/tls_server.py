"""TLS under a connection of ours: OpenSSL over buffers in memory. uvloop has the same, at a cost of 30 KiB for each connection (decision 25).

Nothing is decided here: who may connect is in the context (`proto/mutual_tls.py`), and how long a handshake may take is the port's rule.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

RECORD_BYTES: Final = 16_384
"""The most that one record has, and so one read (RFC 8446 section 5.1)."""
PIECE_BYTES: Final = 2_048
"""Encrypted at a time: OpenSSL's buffer keeps the largest size that it ever had, and a directory of thousands of nodes would stay with each of them."""
PROTOCOL: Final = "h2"


class TlsServer(asyncio.Protocol, asyncio.Transport):
    """A protocol for the socket below, and the transport of the protocol above, which is made when the handshake is over."""

    __slots__ = ("_above", "_below", "_handshake_over", "_incoming", "_is_over", "_make", "_names", "_outgoing", "_tls")

    def __init__(
        self,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        handshake_over: Callable[["TlsServer"], None],
    ) -> None:
        """`handshake_over` is called once: when the handshake has succeeded, or failed, or the connection is gone before."""
        super().__init__()
        self._make = make
        self._handshake_over = handshake_over
        self._is_over = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._names: tuple[tuple[str, str], ...] = ()
        self._below: asyncio.Transport | None = None
        self._above: asyncio.Protocol | None = None

    @property
    def has_shaken_hands(self) -> bool:
        """Whether there is somebody on the other side who may talk."""
        return self._above is not None

    # asyncio.Protocol, for the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._below = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._below = None
        self._end_handshake()
        above, self._above = self._above, None
        if above is not None:
            above.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._incoming.write(data)
        try:
            if self._above is None:
                self._shake_hands()
            while self._above is not None and not self.is_closing():
                clear = self._tls.read(RECORD_BYTES)
                if clear:
                    self._above.data_received(clear)
                else:
                    self.close()  # the client has said that it is over
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:  # a broken record, or a certificate that is refused; OpenSSL has put what is to be said of it into the buffer
            self._flush()
            self.close()
        self._flush()

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        return False

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._above is not None:
            self._above.resume_writing()

    def _shake_hands(self) -> None:
        self._tls.do_handshake()
        self._flush()
        if self._tls.selected_alpn_protocol() != PROTOCOL:
            self.close()
            return
        certificate: dict[str, Any] = self._tls.getpeercert() or {}
        self._names = certificate.get("subjectAltName", ())
        self._above = self._make()
        self._end_handshake()
        self._above.connection_made(self)

    def _end_handshake(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._handshake_over(self)

    def _flush(self) -> None:
        if self._outgoing.pending and self._below is not None and not self._below.is_closing():
            self._below.write(self._outgoing.read())

    # asyncio.Transport, for what is above

    def write(self, data: Any) -> None:
        """See asyncio.Transport."""
        if self._below is None or self._below.is_closing():
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest[:PIECE_BYTES]) :]
            self._flush()

    def close(self) -> None:
        """See asyncio.Transport. The end is said (RFC 8446 section 6.1), and not waited for."""
        if self._below is not None and not self._below.is_closing():
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
            self._below.close()

    def abort(self) -> None:
        """See asyncio.Transport."""
        if self._below is not None:
            self._below.abort()
        else:
            self._end_handshake()  # it was gone before it was here

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._below is None or self._below.is_closing()

    def pause_reading(self) -> None:
        """See asyncio.ReadTransport. What has been read from the socket already is still handed over."""
        if self._below is not None:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio.ReadTransport."""
        if self._below is not None:
            self._below.resume_reading()

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport."""
        return 0 if self._below is None else self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio.WriteTransport."""
        if self._below is not None:
            self._below.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport. Of the certificate only the names are kept."""
        if name == "peercert":
            return {"subjectAltName": self._names}
        return default if self._below is None else self._below.get_extra_info(name, default)
