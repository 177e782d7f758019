"""What a run leaves: who watches it meanwhile, what was seen, and how its files are read."""
