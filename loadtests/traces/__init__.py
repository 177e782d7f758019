"""Recorded requests: what one is, and readers of the formats that they come in. See docs/traces.md."""
