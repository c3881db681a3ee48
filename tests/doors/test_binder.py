"""``binder/``, tested by doing what Binder does: its base environment, ``requirements.txt``, ``postBuild``, a start, a look."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from doors.browser import kernel_is_idle, looking, looks, run_all, serving, shoot

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
BASE = ("ipykernel", "jupyterlab", "notebook")
"""What Binder's own environment has of what ``binder/requirements.txt`` names or replaces."""
TOUR = "examples/tour.ipynb"

pytestmark = looks


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **more)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def checkout(folder):
    """The files that git knows, as Binder gets them."""
    for name in run("git", "ls-files", cwd=ROOT).splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, target)
    return folder


def test_what_binder_would_build(tmp_path):
    repository = checkout(tmp_path / "repository")
    told = run(BIN / "jupyter-repo2docker", "--no-build", "--debug", repository, cwd=tmp_path)
    assert "python=3.12" in told
    steps = ["bin/pip install --no-cache-dir -r \"binder/requirements.txt\"", "RUN ./binder/postBuild"]
    assert [told.count(step) for step in steps] == [1, 1] and told.index(steps[0]) < told.index(steps[1])
    assert os.access(repository / "binder/postBuild", os.X_OK)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The folder of a checkout and an environment of its own, as they are when Binder's image has been built."""
    import repo2docker

    place = tmp_path_factory.mktemp("binder")
    repository, venv = checkout(place / "repository"), place / "venv"
    lock = (Path(repo2docker.__file__).parent / "buildpacks/conda/environment.py-3.12-linux-64.lock").read_text()
    base = [f"{name}=={re.search(rf'/{name}-([0-9.]+)-', lock)[1]}" for name in BASE]
    clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    clean |= {"PATH": f"{venv}/bin:{os.environ['PATH']}", "HOME": str(place / "home")}
    clean |= {f"JUPYTER_{kind}_DIR": str(place / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    (place / "home").mkdir()
    for python in ("3.12", sys.executable):  # Binder's, where this machine has one
        if subprocess.run([BIN / "uv", "venv", "-q", "--seed", "--python", python, venv], capture_output=True).returncode == 0:
            break
    install = (BIN / "uv", "pip", "install", "-q", "--python", venv / "bin/python")
    run(*install, *base)
    run(*install, "-r", "binder/requirements.txt", cwd=repository)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VIRTUAL_ENV", raising=False)
        run(repository / "binder/postBuild", cwd=repository, env={**clean, "HOME": os.environ["HOME"]})
    run(venv / "bin/python", "-m", "pip", "check", env=clean)
    return repository, venv, clean


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_tour_in_binder(image, tmp_path):
    from playwright.sync_api import expect

    repository, venv, clean = image
    assert not (repository / "node_modules").exists()
    environ = {**clean, "JUPYTER_TOKEN": "of-this-test", "CELLFERRY_STATE_DIR": str(tmp_path / "state")}
    command = (venv / "bin/jupyter", "notebook", "--LabApp.expose_app_in_browser=True")
    with (
        contextlib.ExitStack() as after,
        serving(command, repository, environ, tmp_path / "server.log") as address,
        looking(f"{address}/lab/tree/{TOUR}?token=of-this-test", tmp_path) as page,
    ):
        after.callback(run, venv / "bin/cellferry", "down", "--all", env=environ)  # a run that stopped half-way
        expect(page.get_by_role("heading", name="A tour of cellferry")).to_be_visible()
        kernel_is_idle(page)
        expect(page.locator("#cellferry-panel")).to_be_visible()
        shoot(page, tmp_path, "binder-opened")
        errors = run_all(page)
        assert [error.partition(":")[0] for error in errors] == ["BudgetSpent"], errors
        expect(page.locator(".jp-CodeCell").last.get_by_text("trainer").first).to_be_visible()
        page.locator(".jp-OutputArea-output img").first.scroll_into_view_if_needed()
        shoot(page, tmp_path, "binder-tour")
