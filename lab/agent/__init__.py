"""The process of a lab that holds its faults: injects them, heals them when their leases are over, and is started again when it is killed."""
