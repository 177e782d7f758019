"""Where cached responses are kept: one small protocol, and the memory store behind it."""
