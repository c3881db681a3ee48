"""The instance metadata service, version 2, of one instance: at 169.254.169.254 and inside its network alone."""

from __future__ import annotations

import http.server
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from testbeds import namespaces

ADDRESS, PORT = "169.254.169.254", 80
_TTL_HEADER, _TOKEN_HEADER = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
_LONGEST_S = 21600
"""The longest life of a token that EC2's documentation allows."""


class MetadataService:
    """Answers inside the network namespace ``net`` (a descriptor) until ``close``.

    ``tree()`` is asked at each request: paths below ``/latest/`` and what they say. ``tokens()`` is the instance's
    HttpTokens option, ``required`` or ``optional``.
    """

    def __init__(self, net: int, pid: int, tree: Callable[[], Mapping[str, str]], tokens: Callable[[], str]) -> None:
        add = ["ip", "addr", "add", f"{ADDRESS}/32", "dev", "lo"]
        namespaces.run([*namespaces.in_network_of(pid), *add])
        self._known: dict[str, float] = {}
        service, known = self, self._known

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                service.give_token(self)

            def do_GET(self) -> None:
                given = self.headers.get(_TOKEN_HEADER)
                if given is None and tokens() == "required":
                    return say(self, 401)
                if given is not None and known.get(given, 0.0) < time.monotonic():
                    return say(self, 401)
                return say(self, *look_up(tree(), self.path))

            def log_message(self, *_: object) -> None:
                """No log: the console of the tests is not the instance's."""

        self._server = http.server.ThreadingHTTPServer((ADDRESS, PORT), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = namespaces.listen(net, ADDRESS, PORT)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def give_token(self, request: http.server.BaseHTTPRequestHandler) -> None:
        life = request.headers.get(_TTL_HEADER, "")
        if request.headers.get("X-Forwarded-For"):
            return say(request, 403)
        if request.path != "/latest/api/token" or not life.isdecimal() or not 1 <= int(life) <= _LONGEST_S:
            return say(request, 400)
        token = secrets.token_urlsafe(40)
        self._known[token] = time.monotonic() + int(life)
        return say(request, 200, token)

    def close(self) -> None:
        """Give the socket up, which would keep the network alive. May be repeated."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def look_up(tree: Mapping[str, str], path: str) -> tuple[int, str]:
    """(status, text) of a path such as ``/latest/meta-data/placement/``: a value, or the names in a folder."""
    wanted = path.removeprefix("/latest/").strip("/")
    if wanted in tree:
        return 200, tree[wanted]
    below = [name.removeprefix(f"{wanted}/") for name in tree if name.startswith(f"{wanted}/")]
    names = sorted({name.split("/", 1)[0] + ("/" if "/" in name else "") for name in below})
    return (200, "\n".join(names)) if names else (404, "")


def say(request: http.server.BaseHTTPRequestHandler, status: int, text: str = "") -> None:
    """Answer as text; a failure has a page that names it, as EC2's has."""
    body = (text if status == 200 else f"<html><body><h1>{status}</h1></body></html>").encode()
    request.send_response(status)
    request.send_header("Content-Type", "text/plain" if status == 200 else "text/html")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
