"""What an experiment is, as values: scenarios as files say them, checked before anything is begun. Nothing here runs anything (lab/experiments does)."""
