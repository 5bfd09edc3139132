"""Requests to the server."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import ssl
import urllib.parse
import urllib.request
import zlib
from dataclasses import dataclass
from typing import Any, Optional, cast

from . import sockets

# How long a connection, and each part of an answer, may take, in seconds.
TIMEOUT = 20.0

# From which size on a body is packed, in bytes.
PACKED_FROM = 4096

# How much of an answer is read, in bytes: 1,000 updates may each be rejected with a reason.
MAX_ANSWER_BYTES = 4 * 1024 * 1024


# Classes of our own, made before any test runs: vcrpy and others replace the module's while one
# does, and would record the token.
class _Plain(http.client.HTTPConnection):
    pass


class _Secure(http.client.HTTPSConnection):
    pass


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    status: int
    body: dict[str, Any]
    #: Before how many seconds it wants to hear no more.
    retry_after: Optional[float]

    def __str__(self) -> str:
        """In one line, for people."""
        said = [self.body.get(member) for member in ("title", "detail", "message")]
        words = ": ".join(word for word in said if isinstance(word, str) and word)
        # What a server says is no command to the terminal.
        plain = "".join(c if c.isprintable() else " " for c in words)[:300]
        return plain or f"HTTP {self.status} {http.client.responses.get(self.status, '')}".strip()


class Connection:
    """Posts updates to `/api/updates`, over one connection while that lasts. For one thread."""

    def __init__(self, url: str, token: str, project: Optional[str]) -> None:
        """Raises ValueError where `url` is no address. Without a token it asks the server for one."""
        address = urllib.parse.urlsplit(url)
        is_address = address.scheme in ("http", "https") and address.hostname
        if not is_address or address.query or address.fragment:
            raise ValueError("RUNCAST_URL is no address like https://status.example.com")
        self._address = address
        self._host = address.hostname or ""
        self._port = address.port
        self._base = address.path.rstrip("/")
        self._project = project
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, application/problem+json",
            "User-Agent": "pytest-runcast",
        }
        # Of which trace this process is: https://opentelemetry.io/docs/specs/otel/context/env-carriers/
        traceparent = os.environ.get("TRACEPARENT", "")
        if re.fullmatch("[0-9a-f-]+", traceparent):
            self._headers["traceparent"] = traceparent
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: Optional[http.client.HTTPConnection] = None

    def post(self, body: bytes, may_pack: bool) -> tuple[Answer, bool]:
        """Sends a body; says what was answered, and whether it was packed.

        Raises OSError or http.client.HTTPException where there is no answer.
        """
        if "Authorization" not in self._headers:
            self._headers["Authorization"] = f"Bearer {self._local_token()}"
        headers = dict(self._headers)
        is_packed = may_pack and len(body) >= PACKED_FROM
        if is_packed:
            body = _packed(body)
            headers["Content-Encoding"] = "gzip"
        is_reused = self._connection is not None
        try:
            return self._post("/api/updates", body, headers), is_packed
        except (ConnectionError, http.client.BadStatusLine):
            if not is_reused:
                raise
            # The other side gave it up meanwhile. What it has taken, it knows by the eventIds.
            return self._post("/api/updates", body, headers), is_packed

    def _local_token(self) -> str:
        """A token of the stack on this machine, as `runcast run` gets one."""
        wanted = {"org": "demo", "projects": [self._project or "demo"], "scope": ["status:write"]}
        body = json.dumps({**wanted, "ttlSeconds": 24 * 3600}).encode()
        answer = self._post("/_local/token", body, self._headers)
        token = answer.body.get("token")
        if answer.status != 200 or not isinstance(token, str):
            raise OSError(f"it gives no token: {answer}; set RUNCAST_TOKEN")
        return token

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request("POST", self._base + path, body, headers)
            with connection.getresponse() as response:
                content = response.read(MAX_ANSWER_BYTES)
                if not response.isclosed():
                    self.close()
                return Answer(response.status, _json(content), _seconds(response.getheader("Retry-After")))
        except BaseException:
            self.close()
            raise

    def _connect(self) -> http.client.HTTPConnection:
        scheme = self._address.scheme
        proxy = None
        if not urllib.request.proxy_bypass(self._host):
            proxy = urllib.request.getproxies().get(scheme)
        if not proxy:
            return _connection(scheme, self._host, self._port)
        through = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        login = {}
        if through.username:
            name = urllib.parse.unquote(f"{through.username}:{through.password or ''}")
            login["Proxy-Authorization"] = "Basic " + base64.b64encode(name.encode()).decode()
        if scheme == "https":
            # What is secure goes through a plain proxy as a tunnel.
            secure = _connection("https", through.hostname or "", through.port or 80)
            secure.set_tunnel(self._host, self._port, login)
            return secure
        self._headers.update(login)
        if "://" not in self._base:
            self._base = f"{scheme}://{self._address.netloc.rpartition('@')[2]}{self._base}"
        return _connection(through.scheme, through.hostname or "", through.port)

    def close(self) -> None:
        """Gives the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connection(scheme: str, host: str, port: Optional[int]) -> http.client.HTTPConnection:
    connection: Any
    if scheme == "https":
        connection = _Secure(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
    else:
        connection = _Plain(host, port, timeout=TIMEOUT)
    connection._create_connection = sockets.connect
    return cast(http.client.HTTPConnection, connection)


def _packed(body: bytes) -> bytes:
    packer = zlib.compressobj(level=1, wbits=16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def _json(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _seconds(retry_after: Optional[str]) -> Optional[float]:
    """A date, as RFC 9110 has it, too, is taken for none: the server here says seconds."""
    text = (retry_after or "").strip()
    return float(text) if text.isascii() and text.isdigit() else None
