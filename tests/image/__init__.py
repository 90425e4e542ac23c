"""The Dockerfile, carried out where there is no Docker: see `__main__`."""
