"""Ask a worker's HTTP server: its status, interrupt, restart, stop. One connection for each question."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
import uuid
from typing import Any

from cellferry.errors import IdentityError, LinkError
from cellferry.link.identity import check_peer, client_context
from cellferry.model import Endpoint
from cellferry.parcels.tls import check_pinned

PREFIX = "/cellferry/v1/"
ONCE = "Cellferry-Once"
"""Header that names a request: a worker does what it asks for once, however often it comes."""
_PAUSES_S = (0.2, 0.5)


class WorkerHttp:
    """The worker's own routes. Safe to use from several threads; keeps no connection open."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = 5.0) -> None:
        """``timeout_s`` is for each step: connecting, then waiting for an answer.

        The server of a new worker starts after its kernel, and needs seconds on a busy machine.
        """
        self._endpoint, self._timeout_s = endpoint, timeout_s

    def get(self, path: str) -> dict[str, Any]:
        """``get("status")``: the answer as a dict. A path that starts with ``/`` is taken as it is (``/api/kernels``).

        Raises LinkError (IdentityError when the wrong one answers, or refuses us).
        """
        return self._ask("GET", path)

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """``post("stop")``, ``post("kernel/interrupt")``, ``post("lease", {"idle_s": 60})``; as ``get``.

        Sent again where the connection breaks before the answer: the worker does it once.
        """
        once = {ONCE: uuid.uuid4().hex}
        for pause_s in _PAUSES_S:
            try:
                return self._ask("POST", path, body, once)
            except LinkError as error:
                if not isinstance(error.__cause__, (ConnectionResetError, BrokenPipeError, http.client.BadStatusLine)):
                    raise
            time.sleep(pause_s)
        return self._ask("POST", path, body, once)

    def _ask(
        self, method: str, path: str, told: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        target = path if path.startswith("/") else PREFIX + path
        connection = _Connection(self._endpoint, self._timeout_s)
        try:
            connection.request(method, target, None if told is None else json.dumps(told), headers or {})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise LinkError(f"the worker refused {method} {target}: {response.status} {_reason(body, response)}")
            content = json.loads(body or b"{}")
            return content if isinstance(content, dict) else {"items": content}
        except ssl.SSLError as error:
            raise IdentityError(f"the worker and this notebook do not know each other: {error}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LinkError(
                f"the worker does not answer {method} {target}: {str(error) or type(error).__name__}"
            ) from error
        finally:
            connection.close()


def _reason(body: bytes, response: http.client.HTTPResponse) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason


class _Connection(http.client.HTTPConnection):
    """HTTP over the worker's unix socket or pinned TLS."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        super().__init__("worker", timeout=timeout_s)
        self._endpoint, self._timeout_s = endpoint, timeout_s

    def connect(self) -> None:
        endpoint = self._endpoint
        if endpoint.kind == "tls":
            context = client_context(endpoint, "http/1.1")
            raw = socket.create_connection((endpoint.host, endpoint.port), self._timeout_s)
            self.sock = raw
            wrapped = context.wrap_socket(raw)
            self.sock = wrapped
            check_pinned(wrapped.getpeercert(binary_form=True), endpoint.worker_cert_pem)
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self._timeout_s)
            self.sock.connect(endpoint.path)
            check_peer(self.sock)
