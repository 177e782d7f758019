"""The viewers of the lab: Locust profiles, one locustfile each, and the pure arithmetic that they follow.

`locust -f loadtests/website.py` runs one of them by hand; `cdnlab load`, `make lab` and Compose run the same files.
"""
