"""Viewers: Locust populations, each in a region, resolving and connecting as browsers do."""
