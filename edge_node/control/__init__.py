"""What the control plane says, applied and kept."""
