"""Ways to run a topology: as processes on loopback, or (observed, not started) as Compose containers."""
