"""What the sidebar does to workers, by a real server, with real kernels and workers: start, extend, stop, end, look inside."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet

from .sidebar import PATIENCE_S, TOKEN, OpenNotebook, Server, jupyter_server, nothing_lasts, server

__all__ = ["nothing_lasts", "server"]

pytestmark = pytest.mark.usefixtures("nothing_lasts")
WORDS = "gpu=a100 provider=demo budget=1"
WAITS = "import threading; threading.Event().wait()"


def ready(sections: dict[str, Any], name: str = "default") -> Any:
    return next(w for w in sections["workers"] if w["name"] == name and w["state"] == "ready")


def start(server: Server, words: str, notebook: str) -> Any:
    return server.ask("POST", "cellferry/api/workers", {"words": words, "notebook": notebook})


def stopped(notebook: OpenNotebook, cell: str) -> None:
    with pytest.raises(AssertionError, match="KeyboardInterrupt"):
        notebook.reply(cell)


def test_a_worker_started_here_is_adopted_by_its_notebook(server: Server) -> None:
    panel = server.live()
    answer = start(server, WORDS, "a.ipynb")
    assert answer.status == 202 and answer.json == {"name": "default"}
    first = panel.until(lambda s: s["workers"][0], "it starts")
    assert first["state"] == "starting" and first["id"].startswith("starting:") and first["notebook"] == "a.ipynb"
    worker = panel.until(lambda s: ready(s) if ready(s)["reserved_microusd"] else None, "it is ready")
    assert worker["notebook"] == "a.ipynb" and worker["words"] == WORDS and worker["simulated"] and worker["gpu"] == "a100"
    assert [phase["phase"] for phase in worker["phases"]] == ["requested", "booting", "environment", "data", "ready"]
    assert start(server, WORDS, "a.ipynb").json == {"name": "default-2"}
    panel.until(lambda s: ready(s, "default-2"), "a second")
    notebook = server.notebook("a.ipynb")
    notebook.run("%load_ext cellferry")
    notebook.run(f"%%remote {WORDS}\nx = 1")
    used = panel.until(lambda s: next(w for w in s["workers"] if w["cells"] and w["mine"]), "the kernel has it")
    assert used["id"] == worker["id"] and len(panel.sections["workers"]) == 2
    panel.until(lambda s: s["runs"][0]["microusd_per_hour"] == worker["microusd_per_hour"] > 0, "the run says its price")
    panel.until(lambda s: s["runs"][0]["microusd"] > 0 and s["runs"][0]["status"] == "ok", "what the cell came to")


def test_a_worker_that_cannot_be_had_says_why_and_is_forgotten(server: Server) -> None:
    panel = server.live()
    assert start(server, "gpu=a100 provider=demo budget=0.000001", "a.ipynb").status == 202
    failed = panel.until(lambda s: next(w for w in s["workers"] if w["state"] == "failed"), "it failed")
    assert failed["error"] and failed["id"].startswith("starting:")
    assert server.ask("DELETE", f"cellferry/api/workers/{failed['id'].replace(':', '%3A')}").status == 200
    panel.until(lambda s: not s["workers"], "forgotten")


@contextmanager
def sigint_ignored() -> Iterator[None]:
    """As a shell without job control leaves it to what it starts with ``&``."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


SLOW = "{'stock_out': 0.0, 'no_quota': 0.0, 'spot_life_s': None, 'boot_s': (100, 100)}"


@pytest.mark.parametrize("by", ["panel", "cell"])
def test_a_start_is_cancelled(tmp_path: Path, by: str) -> None:
    """One that the sidebar began, and one that a cell waits for. Nothing is left of it, and no money is held for it. By a server
    that was started in the background of a shell script, where SIGINT is ignored."""
    state = str(tmp_path / "state")
    with sigint_ignored(), jupyter_server(tmp_path, {"CELLFERRY_DEMO_WEATHER": SLOW, "CELLFERRY_STATE_DIR": state}) as server:
        panel, cell = server.live(), ""
        notebook = server.notebook("a.ipynb")
        if by == "panel":
            start(server, WORDS, "a.ipynb")
        else:
            notebook.run("%load_ext cellferry")
            cell = notebook.send(f"%%remote {WORDS}\nx = 1")
        booting = panel.until(lambda s: s["workers"][0] if s["workers"][0]["phases"][-1]["phase"] == "booting" else None, "it boots")
        assert booting["id"].startswith("starting:")
        fleet = Fleet(Cellferry(state_dir=state))
        assert [row.worker for row in fleet.purse.open()] == ["default"]
        assert server.ask("DELETE", f"cellferry/api/workers/{booting['id'].replace(':', '%3A')}").status == 200
        panel.until(lambda s: all(w["state"] == "failed" for w in s["workers"]), "it is gone")
        if cell:
            stopped(notebook, cell)
        assert fleet.purse.open() == [] and not list(fleet.provider("demo").find())
        fleet.close()


def test_a_worker_on_this_machine_is_started_by_the_notebooks_kernel(server: Server) -> None:
    panel, notebook = server.live(), server.notebook("a.ipynb")
    assert start(server, "name=here", "a.ipynb").json == {"name": "here"}
    worker = panel.until(lambda s: ready(s, "here"), "it is ready")
    assert worker["provider"] == "local" and worker["mine"] and worker["notebook"] == "a.ipynb"
    assert notebook.run("print(len(In))").strip() == "2", "the notebook's cells keep their numbers"
    notebook.run("%%remote name=here\nx = 1")
    panel.until(lambda s: [w["id"] for w in s["workers"]] == [worker["id"]] and s["workers"][0]["cells"], "and used by its cells")
    notebook.close()
    panel.until(lambda s: not s["workers"], "it ends with its kernel")


def test_extend_stop_look_and_end(server: Server) -> None:
    panel, notebook = server.live(), server.notebook("a.ipynb")
    notebook.run("%load_ext cellferry")
    cell = notebook.send(f"%%remote {WORDS} name=train\nprint('by the cell')\n{WAITS}")
    panel.until(lambda s: s["runs"][0]["phase"] == "running", "it runs")
    worker = panel.until(lambda s: ready(s, "train") if ready(s, "train")["ends_unix_s"] else None)
    path = f"cellferry/api/workers/{worker['id']}"
    extended = server.ask("POST", f"{path}/extend", {"usd": 0.5})
    assert extended.status == 200 and extended.json["ends_unix_s"] > worker["ends_unix_s"], extended.body
    told = panel.until(lambda s: ready(s, "train") if ready(s, "train")["reserved_microusd"] == 1_500_000 else None, "more money")
    assert told["ends_unix_s"] == pytest.approx(extended.json["ends_unix_s"], abs=1.0)
    for which in ("worker", "kernel"):
        assert isinstance(server.get(f"workers/{worker['id']}/logs", which=which)["text"], str)
    assert server.ask("GET", f"{path}/logs?which=../x").status == 400
    assert server.ask("POST", f"{path}/interrupt", {}).status == 200
    panel.until(lambda s: s["runs"][0]["status"] == "stopped", "the cell was stopped")
    stopped(notebook, cell)
    ended = server.ask("DELETE", path)
    assert ended.status == 200 and ended.json["name"] == "train" and ended.json["spent_microusd"] > 0
    panel.until(lambda s: not s["workers"], "it is gone")
    assert server.ask("DELETE", path).status == 404


def test_a_free_worker_cannot_be_extended(server: Server) -> None:
    panel, notebook = server.live(), server.notebook("a.ipynb")
    notebook.run("%load_ext cellferry")
    notebook.run("%remote up")
    worker = panel.until(ready)
    refused = server.ask("POST", f"cellferry/api/workers/{worker['id']}/extend", {"usd": 1})
    assert refused.status == 400 and "costs nothing" in refused.json["message"] and refused.json["advice"]


def test_metrics_come_with_their_past(server: Server) -> None:
    panel, notebook = server.live(), server.notebook("a.ipynb")
    notebook.run("%load_ext cellferry")
    notebook.run("%remote up")
    worker = panel.until(ready)
    panel.watch(worker["id"])
    row = panel.until(lambda s: s["metrics"]["rows"][-1], "a first sample")
    assert panel.metrics[0]["from"] == 0 and 0 <= row["cpu"] <= 1 and row["memory_total_bytes"] > 0
    panel.until(lambda s: panel.metrics[-1]["from"] > 0, "only what is new")
    late = server.live()
    late.watch(worker["id"])
    late.until(lambda s: s["metrics"], "the past")
    assert late.metrics[0]["from"] == 0 and late.metrics[0]["rows"][0]["at_unix_s"] == panel.metrics[0]["rows"][0]["at_unix_s"]


class Terminal:
    """A terminal on a worker, by the proxied websocket."""

    def __init__(self, server: Server, worker_id: str) -> None:
        self.api = f"cellferry/api/workers/{worker_id}/terminals/api/terminals"
        made = server.ask("POST", self.api, {})
        assert made.status == 200, made.body
        self.name = made.json["name"]
        self.socket = websocket.create_connection(
            f"{server.ws}cellferry/api/workers/{worker_id}/terminals/terminals/websocket/{self.name}?token={TOKEN}",
            timeout=PATIENCE_S)  # fmt: skip

    def types(self, text: str) -> None:
        self.socket.send(json.dumps(["stdin", text + "\r"]))

    def until(self, text: str) -> str:
        shown, deadline = "", time.monotonic() + PATIENCE_S
        while text not in shown:
            assert time.monotonic() < deadline, shown
            told = json.loads(self.socket.recv())
            shown += told[1] if told[0] == "stdout" else ""
        return shown


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_a_terminal_on_a_worker(server: Server, transport: str) -> None:
    panel, notebook = server.live(), server.notebook("a.ipynb")
    notebook.run(f"import os; os.environ['CELLFERRY_LOCAL_TRANSPORT'] = '{transport}'\n%load_ext cellferry")
    folder = notebook.run("%%remote\nimport os; print(os.getcwd())").strip()
    environ = notebook.run("%%remote\nprint(dict(os.environ))")
    assert "PATH" in environ and not [word for word in (TOKEN, f":{server.port}", "JPY_", "8888") if word in environ]
    worker = panel.until(ready)
    terminal = Terminal(server, worker["id"])
    terminal.types("echo $((6*7))-here; pwd; env")
    terminal.types("echo it-is-$((1+1))-over")
    shown = terminal.until("it-is-2-over")
    assert "42-here" in shown and folder in shown, "where the cells run"
    for secret in (TOKEN, f":{server.port}", "JPY_", ":8888"):
        assert secret not in shown, "a worker is told neither the address of the Jupyter server nor its token"
    assert [each["name"] for each in server.ask("GET", terminal.api).json] == [terminal.name]
    assert server.ask("GET", f"{terminal.api}/{terminal.name}").json["name"] == terminal.name
    assert server.ask("GET", f"{terminal.api}/nonesuch").status == 404
    assert server.ask("POST", terminal.api, {"shell": "x"}).status == 400
    terminal.types("exit")
    with pytest.raises((websocket.WebSocketConnectionClosedException, json.JSONDecodeError, AssertionError, ValueError)):
        while True:
            assert terminal.socket.recv()
    for _ in range(5):
        other = Terminal(server, worker["id"])
        assert server.ask("DELETE", f"{other.api}/{other.name}").status == 204
    assert server.ask("GET", other.api).json == []
