"""A web server of files in a folder that gives ranges, counts what it sends, and lies or breaks off where it is told to."""

import email.utils
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Server(ThreadingHTTPServer):
    """`mischief` is called with the handler and the range before an answer; what it returns true for, it has answered itself."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = Path(folder)
        self.lock = threading.Lock()
        self.forget()
        self.mischief = None
        self.says_etag = self.says_time = True

    def forget(self):
        self.requests, self.sent = [], 0

    def handle_error(self, *_):
        """Clients that go away in the middle are part of the game."""

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            return self.answer(404)
        size = path.stat().st_size
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        first, last = int(first), min(int(last) if last else size - 1, size - 1)
        with self.server.lock:
            self.server.requests.append((first, last))
            number = len(self.server.requests)
        self.headers_of_file = self.describe(path)
        wanted = self.headers.get("If-Match")
        if self.server.mischief and self.server.mischief(self, number, first, last, size, path):
            return
        if wanted and self.server.says_etag and wanted != self.headers_of_file.get("ETag"):
            return self.answer(412)
        if first >= size:
            return self.answer(416, [("Content-Range", f"bytes */{size}")])
        with open(path, "rb") as file:
            file.seek(first)
            self.give(file.read(last - first + 1), first, last, size)

    def describe(self, path):
        status, headers = path.stat(), {}
        if self.server.says_etag:
            headers["ETag"] = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        if self.server.says_time:
            headers["Last-Modified"] = email.utils.formatdate(status.st_mtime, usegmt=True)
        return headers

    def give(self, data, first, last, size, length=None, extra=()):
        """A part of a file, or what is said to be one."""
        self.answer(206, [("Content-Range", f"bytes {first}-{last}/{size}"), *self.headers_of_file.items(), *extra], data, length)

    def answer(self, status, headers=(), data=b"", length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        try:
            self.wfile.write(data)
        except OSError:
            pass
        with self.server.lock:
            self.server.sent += len(data)
        if length is not None:
            self.close_connection = True


@contextmanager
def serving(folder):
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
