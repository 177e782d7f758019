"""The AWS-compatible management API: CloudFront, version 2020-05-31, as far as the data plane honours it. See docs/management-api.md."""
