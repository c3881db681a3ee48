"""A real Jupyter server with the extension: at its start it ends what nobody owns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from cellferry.model import CellRequest, Hardware
from cellferry.testing import Weather
from cellferry.testing.contract import eventually

CRASH = """
import os
from cellferry.config import load
from cellferry.fleet.fleet import Fleet
from cellferry.model import CellRequest, Hardware
fleet = Fleet(load(), "a.ipynb")
fleet.purse.started = lambda *args: os.kill(os.getpid(), 9)
fleet.acquire(CellRequest(Hardware(gpu="a100", gpu_count=1), providers=("demo",), budget_microusd=5_000_000), print)
"""
CALM = "{'stock_out': 0.0, 'no_quota': 0.0, 'spot_life_s': None, 'boot_s': (0, 0)}"


@pytest.mark.slow
def test_a_server_reaps_at_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFERRY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CELLFERRY_DEMO_WEATHER", CALM)
    subprocess.run([sys.executable, "-c", CRASH], stdout=subprocess.DEVNULL)
    fleet = Fleet(Cellferry(state_dir=str(tmp_path / "state")))
    demo = fleet.provider("demo")
    assert len(list(demo.find())) == 1 and len(fleet.purse.open()) == 1
    log = (tmp_path / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter_server", "--ServerApp.sock", str(tmp_path / "s"), "--no-browser", "--allow-root",
         "--ServerApp.root_dir", str(tmp_path), "--ServerApp.log_level=INFO"],
        stdout=log, stderr=log,
        env=os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "run")},
    )  # fmt: skip
    try:
        eventually(lambda: not list(demo.find()), "the server has ended the machine that nobody owns")
        eventually(lambda: not fleet.purse.open(), "its money is free")
        eventually(lambda: "nobody pays for it" in (tmp_path / "server.log").read_text(), "the log says so")
    finally:
        server.terminate()
        server.wait(30)
        fleet.close()


@pytest.mark.slow
def test_a_machine_that_is_used_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(Cellferry(state_dir=str(tmp_path / "state")), "a.ipynb")
    fleet.provider("demo").weather = Weather(stock_out=0, no_quota=0, spot_life_s=None, boot_s=(0, 0))
    worker, _ = fleet.acquire(
        CellRequest(Hardware(gpu="a100", gpu_count=1), providers=("demo",), budget_microusd=5_000_000), lambda line: None
    )
    from types import SimpleNamespace

    from traitlets.config import Config

    from cellferry.jupyter.server import tidy

    monkeypatch.setenv("CELLFERRY_STATE_DIR", str(tmp_path / "state"))
    told: list[object] = []
    tidy(SimpleNamespace(config=Config(), log=SimpleNamespace(info=lambda *a: told.append(a), warning=lambda *a: told.append(a))))
    assert told == [] and fleet.provider("demo").alive(worker)
    fleet.down()
    fleet.close()
