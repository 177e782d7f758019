"""Configuration applied to one request, without I/O: which distribution and behavior, what goes upstream, what goes to the viewer."""
