"""A proxy before an S3 server that fails as networks and servers do: on purpose, and the same way each time.

Each request, told by its method and address, meets so many faults of the list before it gets through; which ones is a
function of its address. So any client that tries often enough succeeds, and a test never depends on luck.
"""

import http.client
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

EVERY_FAULT = ("slow down", "reset", "lost answer", "cut", "delay")
HOP_BY_HOP = {"connection", "expect", "transfer-encoding", "keep-alive"}


@dataclass(kw_only=True)
class Faults:
    """What goes wrong.

    Attributes:
        kinds: which faults, in turn.
        each: how many of them a request meets before it gets through.
        only: methods that meet any.
        refuse: (status, code) that every request is answered with; None to forward.
        met: how often each fault happened.
        requests: "METHOD /address" of all requests.
    """

    kinds: Sequence[str] = ()
    each: int = 0
    only: Sequence[str] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    refuse: tuple[int, str] | None = None
    met: Counter[str] = field(default_factory=Counter[str])
    requests: list[str] = field(default_factory=list[str])
    seen: Counter[str] = field(default_factory=Counter[str])

    def next(self, method: str, address: str) -> str:
        request = f"{method} {address}"
        self.requests.append(request)
        self.seen[request] += 1
        tries = self.seen[request] - 1
        if method not in self.only or tries >= self.each or not self.kinds:
            return ""
        kind = self.kinds[(zlib.crc32(request.encode()) + tries) % len(self.kinds)]
        self.met[kind] += 1
        return kind


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults
    upstream: str

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.faults.refuse is not None:
            self.answer(*self.faults.refuse)
            return
        fault = self.faults.next(self.command, self.path)
        if fault == "slow down":
            self.answer(503, "SlowDown")
            return
        if fault == "reset":
            self.break_off()
            return
        if fault == "delay":
            time.sleep(0.2)
        status, headers, data = self.forward(body)
        if fault == "lost answer":
            self.break_off()
            return
        if fault == "corrupt" and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in {*HOP_BY_HOP, "content-length"}:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length", "0")
        self.send_header("Content-Length", str(len(data)) if self.command != "HEAD" else length)
        self.end_headers()
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.break_off()
        else:
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        address = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(self.command, self.path, body=body or None, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), data

    def answer(self, status: int, code: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def break_off(self) -> None:
        """Reset the connection instead of closing it."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: tests kill them."""


@contextmanager
def faulty_proxy(upstream: str, faults: Faults) -> Generator[str]:
    """Yield the address of a proxy before `upstream`."""
    handler = type("BoundHandler", (Handler,), {"faults": faults, "upstream": upstream})
    with Listener(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
