"""Which entry leaves when the memory store is full: one protocol, and one module for each policy that can be chosen by name.

A policy sees nodes with a cost in bytes. It knows no HTTP, no clock and no store: the store counts the bytes and asks for victims.
Given a trace of objects of one size, each policy has exactly the hits that libCacheSim has (tests/unit/edge_node/storage/test_eviction_against_libcachesim.py);
where a published algorithm leaves a choice open, the choice of that simulator is taken and named beside the rule.
"""
