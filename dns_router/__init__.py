"""The request router: authoritative DNS that answers with the nearest live edges."""
