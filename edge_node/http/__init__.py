"""HTTP's syntax and coding, of which a cache makes use: pure functions of bytes (RFC 9110, 9111 section 5.2, 9112, 8941, 9213)."""
