"""Locustfile of the profile `api`: an application's calls, cacheable and private. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.api import ApiUser
from loadtests.recording import record_load

__all__ = ["ApiUser"]

record_load(events, profile="api")
