"""Connections as they are, also while a test has replaced what makes them, as pytest-socket does."""

from __future__ import annotations

import socket
from typing import Any, Optional

# Kept before any test runs: this module comes with the plugin.
_Socket = socket.socket
_connect = socket.socket.connect
_getaddrinfo = socket.getaddrinfo


def connect(
    address: tuple[str, int], timeout: Optional[float] = None, source_address: Any = None
) -> socket.socket:
    """Connects, as `socket.create_connection` does."""
    error = OSError("the name has no address")
    for family, kind, protocol, _, to in _getaddrinfo(*address, 0, socket.SOCK_STREAM):
        it = _Socket(family, kind, protocol)
        try:
            it.settimeout(timeout)
            _connect(it, to)
            return it
        except OSError as failed:
            it.close()
            error = failed
    raise error
