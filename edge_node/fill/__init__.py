"""Fetching responses for the cache and for those who wait: request coalescing, the fill itself, and the stream that its readers share."""
