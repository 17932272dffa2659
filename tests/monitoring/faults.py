"""A proxy in front of a mock server that lets single requests fail, as the network and the services do.

It forwards everything else. What happens to a request is decided by a function of its method, its path, and how many requests with
the same decision rule came before.
"""

import http.client
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Not forwarded, because they are about one connection.
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection", "content-length"}


class Reply:
    """A response that the proxy gives itself."""

    def __init__(self, status: int, body: bytes = b'{"error":"injected by the check"}') -> None:
        self.status, self.body = status, body


class Hang:
    """No response until the proxy is closed."""


Decide = Callable[[str, str], Reply | Hang | None]


class Proxy:
    """Forwards to `upstream`; `decide` says what happens to a request instead. `headers` are added to forwarded responses."""

    def __init__(self, upstream: str, decide: Decide, headers: list[tuple[str, str]] | None = None) -> None:
        self.decide, self.headers = decide, headers or []
        self._closed = threading.Event()
        address = urllib.parse.urlsplit(upstream)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                decision = outer.decide(self.command, self.path)
                if isinstance(decision, Hang):
                    outer._closed.wait()
                    self.close_connection = True
                elif decision is not None:
                    self.reply(decision.status, [("content-type", "application/json")], decision.body)
                else:
                    self.forward(body)

            def forward(self, body: bytes) -> None:
                upstream = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
                try:
                    headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                    upstream.request(self.command, self.path, body=body, headers=headers)
                    response = upstream.getresponse()
                    kept = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP]
                    self.reply(response.status, kept + outer.headers, response.read())
                finally:
                    upstream.close()

            def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_one

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that was killed is no error."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stops to listen, and lets hanging requests end."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()


def is_page(path: str) -> bool:
    """Whether a request fetches a page of customers."""
    return "/customers" in path


class Count:
    """Counts pages, from any thread."""

    def __init__(self) -> None:
        self._lock, self._pages = threading.Lock(), 0

    def page(self, path: str) -> int:
        """The ordinal of this page request; 0 if it is another request."""
        if not is_page(path):
            return 0
        with self._lock:
            self._pages += 1
            return self._pages


def hang_from(page: int) -> Decide:
    """Pages from the n-th on get no response."""
    count = Count()
    return lambda _method, path: Hang() if count.page(path) >= page else None


def fail_from(page: int, status: int) -> Decide:
    """Pages from the n-th on fail."""
    count = Count()
    return lambda _method, path: Reply(status) if count.page(path) >= page else None


def fail_every(nth: int, status: int) -> Decide:
    """Every n-th request of a page fails."""
    count = Count()
    return lambda _method, path: Reply(status) if (page := count.page(path)) and page % nth == 0 else None
