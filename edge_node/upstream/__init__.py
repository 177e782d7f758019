"""Getting responses from regional caches and origins: connections, pools, attempts and time limits."""
