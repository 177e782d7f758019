"""Where cached responses are kept: one small protocol, the memory store with its eviction policies, the disk store, and both together."""
