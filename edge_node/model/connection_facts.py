"""What is known of a viewer's connection before any request: addresses, scheme and TLS, as the access log and the stages need it."""

from typing import Final


class ConnectionFacts:
    """Fixed when the connection is accepted (and its handshake is done)."""

    __slots__ = ("address", "port", "scheme", "tls_cipher", "tls_protocol")

    def __init__(
        self, address: str, port: int, scheme: bytes = b"http", tls_protocol: bytes = b"", tls_cipher: bytes = b""
    ) -> None:
        self.address: Final = address
        self.port: Final = port
        self.scheme: Final = scheme
        """`http` or `https`."""
        self.tls_protocol: Final = tls_protocol
        """As the access log names it, `TLSv1.3`; empty without TLS."""
        self.tls_cipher: Final = tls_cipher


NO_CONNECTION: Final = ConnectionFacts("-", 0)
