"""Answering: the way back to the viewer as an interface, responses from the cache, responses as they arrive."""
