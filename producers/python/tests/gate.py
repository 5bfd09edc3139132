"""What stands between a reporter and the real stack, and lets through what it is told to."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable, Optional
from urllib.parse import urlsplit

from .stack import Stack

# The answers of a server that refuses: status and Retry-After.
Refusal = tuple[int, Optional[int]]


class Gate:
    """An address that leads to the stack while it is open."""

    def __init__(self, stack: Stack) -> None:
        self._stack = urlsplit(stack.url)
        self._refusals: Callable[[], Optional[Refusal]] = lambda: None
        #: How many requests are let through before it hangs.
        self._hangs_after: Optional[int] = None
        #: When requests came.
        self.requests: list[float] = []
        #: Of which trace they were.
        self.traceparents: list[Optional[str]] = []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                gate._take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def refuse(self, status: int, retry_after: Optional[int] = None, times: Optional[int] = None) -> None:
        """Answers so from now on, or so many times."""
        left = [times]

        def refusal() -> Optional[Refusal]:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    return None
            return status, retry_after

        self._refusals = refusal

    def hang(self, after: int = 0) -> None:
        """Takes requests, and never answers, but so many."""
        self._hangs_after = len(self.requests) + after

    def open(self) -> None:
        """Lets everything through."""
        self._hangs_after = None
        self._refusals = lambda: None

    def close(self) -> None:
        """Nobody listens any more."""
        self._server.shutdown()
        self._server.server_close()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(time.monotonic())
        self.traceparents.append(request.headers["traceparent"])
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if self._hangs_after is not None and len(self.requests) > self._hangs_after:
            time.sleep(60)
            return
        refusal = self._refusals()
        if refusal:
            status, retry_after = refusal
            request.send_response(status)
            if retry_after is not None:
                request.send_header("Retry-After", str(retry_after))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        stack = http.client.HTTPConnection(self._stack.hostname or "", self._stack.port, timeout=30)
        headers = {name: request.headers[name] for name in request.headers if name != "Host"}
        # A proxy is asked for the whole address.
        stack.request("POST", urlsplit(request.path).path, body, headers)
        answer = stack.getresponse()
        content = answer.read()
        stack.close()
        request.send_response(answer.status)
        for name in ("Content-Type", "Retry-After"):
            if answer.headers[name]:
                request.send_header(name, answer.headers[name])
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
