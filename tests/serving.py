"""A web server in a thread, whose answers a test can spoil."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and how.

    Attributes:
        files: content by path.
        cut: bytes of an answer after which the connection is closed.
        pause: seconds between pieces of 4 kB.
        ranges: whether parts can be asked for.
        etags: whether answers have one.
        html: whether every answer is a web page.
        shift: by how much a part begins later than it was asked for.
        asked: the Range of each request, in order.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut: int | None = None
    pause: float = 0.0
    ranges: bool = True
    etags: bool = True
    html: bool = False
    shift: int = 0
    url: str = ""
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(site))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            content = site.files.get(self.path.lstrip("/"))
            if content is None:
                self.send_error(404)
                return
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            start = 0
            if wanted and site.ranges and self.headers.get("If-Range", etag) == etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start + site.shift}-{len(content) - 1}/{len(content)}")
            if site.etags:
                self.send_header("ETag", etag)
            self.send_header("Content-Type", "text/html" if site.html else "application/octet-stream")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.send(content[start:])

        def send(self, content: bytes) -> None:
            self.close_connection = True
            content = content[: site.cut]
            with suppress(BrokenPipeError, ConnectionResetError):
                for i in range(0, len(content), 4096):
                    self.wfile.write(content[i : i + 4096])
                    time.sleep(site.pause)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
