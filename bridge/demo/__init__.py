"""`rowcast demo`: an embedded PostgreSQL, a sample shop in it, and the bridge on top."""
