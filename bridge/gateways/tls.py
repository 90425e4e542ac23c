"""TLS for the one port: a certificate and its key, read again when their files change.

Who renews certificates replaces the files; connections that are made from then on get
the new one. Files that do not fit each other yet are left alone until they do.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.config import TlsConfig

log = logging.getLogger(__name__)

Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


class Certificate:
    """`context` is for the server. Raises BridgeError if the files cannot be used at first."""

    def __init__(self, config: TlsConfig) -> None:
        self._files = config.cert, config.key
        self.context = _context()
        self._stamp = self._look()
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            raise BridgeError(f"server.tls: {' and '.join(self._files)}: {error}") from None

    def refresh(self) -> None:
        """Read the files again if they are not the ones that were read."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._load()
            log.info("new certificate is served")
        except (OSError, ssl.SSLError) as error:
            log.warning("certificate not read", extra={"reason": str(error)})

    def _load(self) -> None:
        # A context that fails half-way serves nothing any more: another one fails first.
        _context().load_cert_chain(*self._files, password=_no_password)
        self.context.load_cert_chain(*self._files, password=_no_password)

    def _look(self) -> Stamp:
        try:
            found = [Path(file).stat() for file in self._files]
        except OSError:
            return ()
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _no_password() -> str:
    """In place of the question that OpenSSL would ask on a terminal."""
    return ""
