"""What the sidebar's handlers share: who may ask, what a body may hold, how an error is told. See docs/reference/server.md."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from http.client import responses
from typing import Any

import jsonschema
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from cellferry.errors import CellferryError, LinkError, RequestError, WorkerError
from cellferry.jupyter.live import Hub

PREFIX = "cellferry"
MOST_BYTES = 64 << 10

Method = Callable[..., Any]


class Told(HTTPError):
    """An error that the sidebar shows: what is wrong, and what to do."""

    def __init__(self, status: int, message: str, advice: str = "") -> None:
        super().__init__(status, message.replace("%", "%%"))
        self.message, self.advice = message, advice


def guarded(method: Method) -> Method:
    """For whoever may use this server; an error of cellferry becomes an answer with its advice."""

    @authenticated
    @authorized
    @functools.wraps(method)
    async def answered(handler: Route, *args: Any) -> None:
        try:
            await method(handler, *args)
        except RequestError as error:
            raise Told(400, error.what, error.advice) from error
        except (LinkError, WorkerError) as error:
            raise Told(502, error.what, error.advice) from error
        except CellferryError as error:
            raise Told(409, error.what, error.advice) from error

    return answered


class Route(APIHandler):  # type: ignore[misc, unused-ignore]
    """What all of them share."""

    auth_resource = PREFIX

    def initialize(self, hub: Hub) -> None:
        self.hub = hub

    def body(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The request's JSON, if it fits; else the answer is 400 and says what does not."""
        if len(self.request.body) > MOST_BYTES:
            raise Told(413, "the request is too long")
        try:
            told: dict[str, Any] = json.loads(self.request.body or b"{}")
            jsonschema.validate(told, schema)
        except ValueError:
            raise Told(400, "the request is not JSON") from None
        except jsonschema.ValidationError as error:
            where = "/".join(map(str, error.absolute_path))
            raise Told(400, f"the request does not fit{f' at {where}' if where else ''}: {error.message[:300]}") from None
        return told

    def answer(self, content: Any, status: int = 200) -> None:
        """JSON, and to be taken as nothing else."""
        self.set_status(status)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(json.dumps(content))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = (kwargs.get("exc_info") or (None, None))[1]
        message = getattr(error, "message", None) or getattr(error, "log_message", None) or responses.get(status_code, "")
        if not isinstance(error, HTTPError):
            message = "something went wrong in the server; its log says what"
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(json.dumps({"message": message, "advice": getattr(error, "advice", "")}))
