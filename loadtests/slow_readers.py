"""Locustfile of the profile `slow-readers`: clients that hold connections, sending and reading at a trickle. See docs/load.md for its options."""

from locust import events

from loadtests.profiles.slow_readers import SlowReadersUser
from loadtests.recording import record_load

__all__ = ["SlowReadersUser"]

record_load(events, profile="slow-readers")
