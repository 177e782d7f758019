"""The control plane: the store, the change log, who is alive, and the AWS-compatible management API."""
