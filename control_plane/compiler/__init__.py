"""From what the management API accepts to what nodes serve from: checked as a whole before it is published. Pure: no store, no clock, no network.

`fields.py` says of every member of the service's model whether it is honoured; the other modules check what values mean, and translate. Nothing here knows HTTP or XML.
"""
