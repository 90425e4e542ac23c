"""The transport edge: one port for WebSocket and plain HTTP. Nothing here knows PostgreSQL."""
