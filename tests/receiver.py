"""A real HTTP server on localhost that keeps what it is sent, and answers as it is told."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Takes POSTs on a port of its own; may be stopped and started again on the same one.

    ``answers`` are used up one a request: a status, (status, headers), "drop" (the connection is
    closed after the request was read), "hang" (the same, but only once ``released`` is set),
    ("hang", status), or ("drip", text, more): `text`, then `more` byte by byte, over and over,
    until ``released`` is set. Then it is 200.
    """

    def __init__(self):
        self.taken, self.seen, self.answers, self.port = [], [], [], 0
        self.released = threading.Event()
        self.start()

    def start(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._answer(self, json.loads(body))

            def do_GET(self):
                receiver.seen.append("GET")
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self):
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook/secret"

    def _answer(self, request, content):
        self.seen.append((content, dict(request.headers)))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, tuple) and answer[0] == "drip":
            self.taken.append(content)
            self._drip(request, *answer[1:])
            return
        if isinstance(answer, tuple) and answer[0] == "hang":
            self.released.wait()
            answer = answer[1]
        if answer in ("hang", "drop"):
            self.taken.append(content)
            if answer == "hang":
                self.released.wait()
            request.close_connection = True
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if status == 200:
            self.taken.append(content)
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _drip(self, request, text, more):
        request.close_connection = True
        with contextlib.suppress(OSError):  # the client has had enough
            request.wfile.write(text.encode())
            while not self.released.is_set():
                for byte in more.encode():
                    request.wfile.write(bytes([byte]))
                    time.sleep(0.01)
