"""Is this build slower than that one, or does it do more for the same requests? Exact counters first, then times in turns (docs/regression.md).

A package beside experiments: those break one lab and judge it, this one compares two labs that nobody breaks.
"""
