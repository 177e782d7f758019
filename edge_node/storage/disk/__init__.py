"""The disk store: records in files under a byte budget, of which kill -9, a full disk or a damaged file costs only what it touched (docs/disk-format.md).

It knows keys, stamps, metadata and bodies as bytes; what they mean is its owner's.
"""
