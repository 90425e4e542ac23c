"""Tokens → what somebody may follow. Loaded where the config asks for it: it needs PyJWT.

token ─ tokens.verify (pure) ─▶ Grant ─ Guard.check ─▶ yes, or a ProtocolError
           ▲ keys: one of the config, or a set that is fetched (jwks)
"""
