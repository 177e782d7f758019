"""Which regions, POPs, caches, routers and origins a lab consists of, where they are, and under which addresses."""
