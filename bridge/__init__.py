"""Rowcast, the bridge: debounced change notifications from existing PostgreSQL tables."""

__version__ = "0.1.0"
