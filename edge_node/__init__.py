"""A cache node, edge or regional: serves viewers (or edges) from its snapshot and its entries."""
