"""The pure middle of the cache: keys, freshness, invalidation, and the decision about one request. No sockets, clocks or randomness."""
