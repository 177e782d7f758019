"""Locustfile of the profile `objects`: GETs of one of N objects, popular by Zipf. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.objects import ObjectsUser
from loadtests.recording import record_load

__all__ = ["ObjectsUser"]

record_load(events, profile="objects")
