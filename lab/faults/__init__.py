"""What can be broken on purpose: the catalogue, whom it hits, how long, and how each fault is injected and undone."""
