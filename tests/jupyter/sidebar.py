"""A real Jupyter server for tests of the sidebar's routes: its REST API, its push, and notebooks with real kernels."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

import pytest
import websocket

from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from jupyter_server_end import end

TOKEN = "a-token-for-tests"
PATIENCE_S = 60.0
CALM = "{'stock_out': 0.0, 'no_quota': 0.0, 'spot_life_s': None, 'boot_s': (0.2, 0.3)}"
OPENER = build_opener(ProxyHandler({}))


@dataclass
class Answer:
    """What a route answered."""

    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Live:
    """The push, as a panel hears it. ``sections``: the last of each; ``heard``: the name and time of every message."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(address, timeout=PATIENCE_S)
        self.sections: dict[str, Any] = {}
        self.metrics: list[Any] = []
        self.heard: list[tuple[str, float]] = []

    def watch(self, *workers: str) -> None:
        self.socket.send(json.dumps({"watch": list(workers)}))

    def until(self, true: Callable[[dict[str, Any]], Any], what: str = "", patience_s: float = PATIENCE_S) -> Any:
        """Listen until the sections are so; what ``true`` returned."""
        deadline = time.monotonic() + patience_s
        while not (found := self._holds(true)):
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"not told within {patience_s} s: {what}; last: {json.dumps(self.sections)[:3000]}"
            self.listen(left_s)
        return found

    def _holds(self, true: Callable[[dict[str, Any]], Any]) -> Any:
        try:
            return true(self.sections)
        except (KeyError, IndexError, StopIteration):
            return None

    def listen(self, most_s: float) -> bool:
        """Take one message, if one comes within this time."""
        self.socket.settimeout(max(0.01, most_s))
        try:
            told = json.loads(self.socket.recv())
        except websocket.WebSocketTimeoutException:
            return False
        self.heard.append((told["section"], time.monotonic()))
        self.sections[told["section"]] = told["data"]
        if told["section"] == "metrics":
            self.metrics.append(told["data"])
        return True

    def close(self) -> None:
        self.socket.close()


class OpenNotebook:
    """A notebook with its kernel, opened as JupyterLab does."""

    def __init__(self, server: Server, path: str, kernel: str = "python3") -> None:
        self.server, self.path = server, path
        self.session = server.ask("POST", "api/sessions", {
            "path": path, "name": Path(path).name, "type": "notebook", "kernel": {"name": kernel}}).json  # fmt: skip
        self.kernel_id = self.session["kernel"]["id"]
        self.socket = websocket.create_connection(
            f"{server.ws}api/kernels/{self.kernel_id}/channels?token={TOKEN}", timeout=PATIENCE_S)  # fmt: skip

    def send(self, code: str, cell_id: str = "c-1", **metadata: Any) -> str:
        """Ask for a cell to be run; the request's id."""
        name = uuid.uuid4().hex
        self.socket.send(json.dumps({
            "header": {"msg_id": name, "msg_type": "execute_request", "username": "", "session": "s", "version": "5.4", "date": ""},
            "parent_header": {}, "metadata": {"cellId": cell_id, **metadata}, "channel": "shell", "buffers": [],
            "content": {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
                        "stop_on_error": True}}))  # fmt: skip
        return name

    def reply(self, name: str) -> str:
        """Wait for the end of a cell; all the text that it showed. Fails if the cell does."""
        text, replied, idle = "", None, False
        while not (replied and idle):
            told = json.loads(self.socket.recv())
            if told["parent_header"].get("msg_id") != name:
                continue
            kind, content = told["msg_type"], told["content"]
            if kind == "execute_reply":
                replied = content
            elif kind == "status":
                idle = content["execution_state"] == "idle"
            elif kind == "stream":
                text += content["text"]
            elif kind in ("execute_result", "display_data"):
                text += content["data"].get("text/plain", "")
        assert replied["status"] == "ok", "\n".join(replied.get("traceback", []))
        return text

    def run(self, code: str, cell_id: str = "c-1") -> str:
        return self.reply(self.send(code, cell_id))

    def interrupt(self) -> None:
        self.server.ask("POST", f"api/kernels/{self.kernel_id}/interrupt", {})

    def close(self) -> None:
        self.socket.close()
        self.server.ask("DELETE", f"api/sessions/{self.session['id']}")


@dataclass
class Server:
    """A running Jupyter server over ``root``."""

    root: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    open: list[Any] = field(default_factory=list)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    def ask(self, method: str, path: str, body: Any = None, *, token: str = TOKEN, headers: Any = None) -> Answer:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        told = {"Authorization": f"token {token}"} if token else {}
        request = Request(self.http + path, data, {**told, **(headers or {})}, method=method)
        try:
            with OPENER.open(request, timeout=PATIENCE_S) as answer:
                return Answer(answer.status, answer.read(), answer.headers)
        except HTTPError as error:
            return Answer(error.code, error.read(), error.headers)

    def get(self, path: str, **words: str) -> Any:
        """The JSON of one of our routes; fails unless the status is 200."""
        query = "&".join(f"{name}={quote(text)}" for name, text in words.items())
        answer = self.ask("GET", f"cellferry/api/{path}" + (f"?{query}" if query else ""))
        assert answer.status == 200, answer.body
        return answer.json

    def live(self) -> Live:
        self.open.append(Live(f"{self.ws}cellferry/api/live?token={TOKEN}"))
        return self.open[-1]

    def notebook(self, path: str = "a.ipynb", kernel: str = "python3") -> OpenNotebook:
        self.open.append(OpenNotebook(self, path, kernel))
        return self.open[-1]

    def close(self) -> None:
        for each in reversed(self.open):
            try:
                each.close()
            except (OSError, websocket.WebSocketException):
                continue
        end(self.process)


@contextmanager
def jupyter_server(tmp_path: Path, environ: dict[str, str] | None = None) -> Iterator[Server]:
    """Started, and ended with everything that was opened."""
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}",
             "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}"],
            stdout=out, stderr=out,
            env=os.environ | {
                "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "run"),
                "CELLFERRY_STATE_DIR": str(tmp_path / "state"), "CELLFERRY_DEMO_WEATHER": CALM,
                "CELLFERRY_CACHE_DIR": str(tmp_path / "cache"), **(environ or {})},
        )  # fmt: skip
    server = Server(root, port, process, log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                OPENER.open(server.http + "api", timeout=1).close()
                break
            except (URLError, OSError):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
                try:
                    process.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of a module that leave it as it was."""
    with jupyter_server(tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with jupyter_server(tmp_path) as server:
        yield server
        if os.environ.get("CELLFERRY_SHOW_LOG"):
            print(server.log.read_text())


@pytest.fixture
def nothing_lasts(tmp_path: Path) -> Iterator[None]:
    """In the end, workers that outlive servers are ended, also where the test failed."""
    yield
    fleet = Fleet(Cellferry(state_dir=str(tmp_path / "state")))
    try:
        fleet.down(everyone=True)
    finally:
        fleet.close()
