"""What a request passes before it is looked up: one literal table of stages."""
