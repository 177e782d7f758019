"""Where viewers (and, at a regional cache, edges) connect."""
