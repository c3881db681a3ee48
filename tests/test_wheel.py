"""The wheel is all that a user gets: it goes into an empty environment, and a cell runs on a worker from there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CELLS = [
    "given = [1]\ndef double(x): return [2 * n for n in x]",
    "%%remote\nimport os, sys\ngiven.append(2)\nhome, pid = double(given), os.getpid()\nprint(sys.prefix)",
    "import os\nprint(given, home, pid != os.getpid())",
]
USE = f"""
import json
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import start_new_kernel

spec = KernelSpecManager().get_kernel_spec("cellferry")
manager, client = start_new_kernel(kernel_name="cellferry")
shown = []
try:
    for cell in {CELLS!r}:
        reply = client.execute_interactive(cell, timeout=60, output_hook=lambda told: shown.append(told["content"]))
        assert reply["content"]["status"] == "ok", reply["content"]
finally:
    client.stop_channels()
    manager.shutdown_kernel()
text = "".join(content.get("text", "") for content in shown)
print(json.dumps({{"display_name": spec.display_name, "text": text}}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree: the one that CI has built, or a new one."""
    built = os.environ.get("CELLFERRY_WHEEL")
    if built:
        return Path(built)
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, ROOT], check=True)
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Python in an environment that holds the wheel, what it depends on, and nothing else."""
    place = tmp_path_factory.mktemp("empty") / "env"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    fast = [[uv, "pip", "install", "-q", "--python", python, wheel]] if uv else []
    for command in [*fast, [python, "-m", "pip", "install", "-q", wheel]]:
        if subprocess.run(command).returncode == 0:
            return python
    pytest.fail("the wheel cannot be installed")


def test_a_cell_runs_on_a_worker(empty: Path, tmp_path: Path) -> None:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "JUPYTER_PATH", "VIRTUAL_ENV"))
    }
    run = subprocess.run([empty, "-c", USE], capture_output=True, text=True, cwd=tmp_path, env=clean, timeout=120)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["display_name"] == "Python 3 (cellferry)"
    assert told["text"] == f"{empty.parents[1]}\n[1, 2] [2, 4] True\n"


def test_the_command_is_there(empty: Path) -> None:
    run = subprocess.run([empty.with_name("cellferry"), "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.strip()


def test_it_brings_what_belongs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top.rpartition(".")[2] for top in tops} == {"cellferry", "dist-info", "data"}
    assert "cellferry/py.typed" in names
    assert any(name.endswith("share/jupyter/kernels/cellferry/kernel.json") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    lab = "share/jupyter/labextensions/@cellferry/lab"
    assert any(f"{lab}/static/remoteEntry" in name for name in names)
    assert {f"{lab}/{name}" for name in ("install.json", "package.json")} <= {name.partition("/data/")[2] for name in names}
    assert not [name for name in names if name.startswith("cellferry/labextension")], "it is shipped once"
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "benchmarks"))]
