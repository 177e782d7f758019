"""What a lab would do with a series of requests, before it is up: tiers of caches with the edge node's own eviction and freshness code (docs/prediction.md)."""
