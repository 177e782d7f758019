"""Locustfile of the profile `conditional`: GETs with the ETag of what was seen before. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.conditional import ConditionalUser
from loadtests.recording import record_load

__all__ = ["ConditionalUser"]

record_load(events, profile="conditional")
