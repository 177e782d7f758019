"""Scripted peers: real sockets that say exactly what a test tells them to. They stand in for nothing of ours that a test is about."""
