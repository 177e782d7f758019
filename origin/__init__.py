"""Where content comes from in the lab: a website, an API, downloads, video, a bucket; and how to misbehave."""
