"""Locustfile of the profile `cache-busting`: query strings that no cache has seen, as attackers send them. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.cache_busting import CacheBustingUser
from loadtests.recording import record_load

__all__ = ["CacheBustingUser"]

record_load(events, profile="cache-busting")
