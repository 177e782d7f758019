"""The modelled internet: relays in user space between the places of a lab (docs/wan.md)."""
