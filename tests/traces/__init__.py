"""Sequences of requests, made or recorded, and the smallest cache that can answer them: what the eviction policies are judged by."""
