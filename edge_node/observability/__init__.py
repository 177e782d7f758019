"""What operators see: access log, metrics, explain, the admin port."""
