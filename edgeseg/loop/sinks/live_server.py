"""The HTTP side of the live page: a thread for each browser, and a bound on all of them."""

from __future__ import annotations

import json
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from edgeseg.loop.serving import QuietServer
from edgeseg.loopback import is_loopback

if TYPE_CHECKING:
    from edgeseg.loop.sinks.live import Board

MOST_VIEWERS = 8
_SOCKET_SECONDS = 5.0
_PICTURE_WAIT_SECONDS = 2.0
_BOUNDARY = "edgeseg-picture"
# The page brings all it needs, and loads nothing from anywhere else.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'"
)


class LiveServer:
    """Listens until :meth:`close`.

    Raises:
        OSError: The address cannot be listened on.
    """

    def __init__(self, host: str, port: int, board: Board, fps: float) -> None:
        self._server = _Server(host, port, board, fps)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="edgeseg-live", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(QuietServer):
    def __init__(self, host: str, port: int, board: Board, fps: float) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.board = board
        self.period = 1 / fps
        self.local_only = is_loopback(host)
        self.page = (files("edgeseg.loop.sinks") / "templates" / "live.html").read_bytes()
        self.viewers = threading.BoundedSemaphore(MOST_VIEWERS)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    # Of every read and write: a browser that takes nothing is let go.
    timeout = _SOCKET_SECONDS
    server_version, sys_version = "edgeseg", ""

    def do_GET(self) -> None:
        if not self._host_is_ours():
            self._answer(
                HTTPStatus.FORBIDDEN, "text/plain", b"This page answers to the loopback address only.\n"
            )
            return
        url = urlsplit(self.path)
        if url.path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        elif url.path == "/status.json":
            status = json.dumps(self.server.board.status(), ensure_ascii=False).encode()
            self._answer(HTTPStatus.OK, "application/json", status)
        elif url.path in ("/frame.jpg", "/stream.mjpg"):
            self._as_viewer(url.path, parse_qs(url.query))
        else:
            self._answer(
                HTTPStatus.NOT_FOUND, "text/plain", b"There are /, /stream.mjpg, /frame.jpg, /status.json\n"
            )

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gives it
        """Requests are no event of the loop."""

    def _as_viewer(self, path: str, query: dict[str, list[str]]) -> None:
        if not self.server.viewers.acquire(blocking=False):
            text = f"{MOST_VIEWERS} viewers watch already.\n".encode()
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", text)
            return
        try:
            if path == "/stream.mjpg":
                self._stream()
            else:
                after = query.get("after", ["0"])[0]
                self._picture(int(after) if after.isascii() and after.isdigit() else 0)
        finally:
            self.server.viewers.release()

    def _picture(self, after: int) -> None:
        """The newest picture; with ``after`` one that is newer than that, which may take a moment."""
        board = self.server.board
        started = time.monotonic()
        if not board.wait(after, _PICTURE_WAIT_SECONDS):
            self._answer(HTTPStatus.NO_CONTENT, "text/plain", b"")
            return
        if after:
            time.sleep(max(0.0, self.server.period - (time.monotonic() - started)))
        sequence, jpeg = board.jpeg()
        self._answer(HTTPStatus.OK, "image/jpeg", jpeg, {"X-Sequence": str(sequence)})

    def _stream(self) -> None:
        self._head(HTTPStatus.OK, f"multipart/x-mixed-replace; boundary={_BOUNDARY}", {})
        board, shown = self.server.board, 0
        while not board.closed:
            started = time.monotonic()
            if not board.wait(shown, _PICTURE_WAIT_SECONDS):
                continue
            shown, jpeg = board.jpeg()
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(max(0.0, self.server.period - (time.monotonic() - started)))

    def _answer(
        self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self._head(status, kind, {"Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": _POLICY,
        }
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _host_is_ours(self) -> bool:
        """A site elsewhere may give its own name this address; a browser then says that name, not ours."""
        host = self.headers.get("Host", "")
        name = urlsplit(f"//{host}").hostname or ""
        return not self.server.local_only or is_loopback(name)
