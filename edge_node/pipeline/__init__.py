"""A request's way through the node: stages, decision, and what is done about it."""
