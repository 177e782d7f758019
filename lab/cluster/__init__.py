"""How a lab runs: what a cluster is, as processes on loopback or as containers, and what is known of it."""
