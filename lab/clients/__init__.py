"""Clients of what a lab runs: the management API, and HTTP to single nodes."""
