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
from cellferry.link.identity import client_context
from cellferry.link.proving import connect
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

    def delete(self, path: str) -> None:
        """``delete("/api/terminals/1")``; as ``get``."""
        self._ask("DELETE", path)

    def relay(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The status and the body of whatever the worker answers, for somebody who asks through us. Raises LinkError."""
        status, answer, _reason = self._exchange(method, path, body)
        return status, answer

    def _ask(self, method: str, path: str, told: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
        target = path if path.startswith("/") else PREFIX + path
        status, body, reason = self._exchange(method, target, None if told is None else json.dumps(told).encode(), headers)
        if status not in (200, 204):
            raise LinkError(f"the worker refused {method} {target}: {status} {_reason(body, reason)}")
        try:
            content = json.loads(body or b"{}")
        except ValueError as error:
            raise LinkError(f"the worker does not answer {method} {target}: {error}") from error
        return content if isinstance(content, dict) else {"items": content}

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, str]:
        connection = _Connection(self._endpoint, self._timeout_s)
        try:
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read(), response.reason
        except ssl.SSLError as error:
            raise IdentityError(f"the worker and this notebook do not know each other: {error}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LinkError(
                f"the worker does not answer {method} {target}: {str(error) or type(error).__name__}"
            ) from error
        finally:
            connection.close()


def dial_http(endpoint: Endpoint, timeout_s: float) -> socket.socket:
    """A connection to the worker's HTTP server, both ends known, for a protocol that HTTP only begins (WebSocket).

    Over TLS it is an ``SSLSocket`` after its handshake. Raises LinkError, IdentityError.
    """
    connection = _Connection(endpoint, timeout_s)
    try:
        connection.connect()
        return connection.sock
    except BaseException as error:
        connection.close()
        if isinstance(error, ssl.SSLError):
            raise IdentityError(f"the worker and this notebook do not know each other: {error}") from error
        if isinstance(error, OSError):
            raise LinkError(f"the worker does not answer: {error}") from error
        raise


def _reason(body: bytes, otherwise: str) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return otherwise


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
            connect(endpoint, self.sock, self._timeout_s)
