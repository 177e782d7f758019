"""What a report shows, as plain values: from the files of a run, and from its history where there is one. Nothing here knows HTML."""
