"""The driver for Chaos Toolkit: its actions, probes and control, which hand everything to the run (docs/scenarios.md)."""
