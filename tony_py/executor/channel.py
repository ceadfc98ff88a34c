"""The way to the driver: JSON over HTTP with mutual TLS, the driver's certificate pinned."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from typing import Any

Message = dict[str, Any]


class RefusedError(Exception):
    """The driver took the message and said no: saying it again cannot help."""


class Channel:
    """One connection that is opened again when it broke; one message at a time.

    Parameters
    ----------
    address
        ``host:port`` of the driver.
    token
        The application's secret.
    certificate, key
        Files of the pair that both sides show (PEM).
    """

    def __init__(self, address: str, token: str, certificate: str, key: str) -> None:
        host, _, port = address.rpartition(":")
        # Not create_default_context: its strict checks refuse a certificate that is its own authority.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False  # the certificate names no host; it is pinned by being the only one trusted
        context.load_verify_locations(certificate)
        context.load_cert_chain(certificate, key)
        self._connection = http.client.HTTPSConnection(host, int(port), timeout=60, context=context)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._lock = threading.Lock()

    def post(self, path: str, message: Message) -> Message:
        """Send a message and return the answer; OSError when the driver cannot be reached."""
        return self._ask("POST", path, json.dumps(message).encode()) or {}

    def get(self, path: str) -> Message | None:
        """Return what the driver has at ``path``, or None when it has nothing yet."""
        return self._ask("GET", path, None)

    def own_address(self) -> str:
        """Return this side's address on the way to the driver."""
        with self._lock:
            if self._connection.sock is None:
                self._connection.connect()
            return str(self._connection.sock.getsockname()[0])

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> Message | None:
        with self._lock:
            try:
                self._connection.request(method, path, body, self._headers)
                answer = self._connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()  # the next message opens it again
                raise OSError(f"{type(error).__name__}: {error}") from error
        if answer.status >= 400:
            raise RefusedError(f"{path}: {data.decode(errors='replace')}")
        return json.loads(data) if data else None
