"""A new environment of about 20 packages, up to the first result of a cell in it; by cellferry, uv and pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.contender import Samples, Step, timed
from benchmarks.notebook import Notebook

IMPORTS = "import numpy, dask.array, distributed"
ROOTS = ("numpy", "dask", "distributed")
"""What the cell imports; with all that they need these are about 20 packages, which the notebook's environment has."""


class EnvironmentCell:
    """``%%remote env=auto`` in a new notebook: with nothing in cellferry's cache, then again; and with shared packages."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {"environment": self.environment}

    def setup(self) -> None:
        """Nothing: each step starts notebooks of its own."""

    def teardown(self) -> None:
        """Nothing."""

    def environment(self) -> Samples:
        """Seconds of a first cell, its worker's start included: new, cached, and in the notebook's own environment."""
        cache = tempfile.mkdtemp(prefix="cfe-")
        try:
            environ = {**os.environ, "CELLFERRY_CACHE_DIR": cache}
            new_s = _first_cell(environ, "env=auto")
            cached_s = _first_cell(environ, "env=auto")
            shared_s = _first_cell(environ, "")
        finally:
            shutil.rmtree(cache, ignore_errors=True)
        # the promise is 1.3 times the floor and a second: the ratio is taken of what is above that second
        return {
            "new_s": [new_s], "cached_s": [cached_s], "shared_s": [shared_s], "new_less_1_s": [new_s - 1.0],
            "added_s": [cached_s - shared_s],
        }  # fmt: skip


def _first_cell(environ: Mapping[str, str], words: str) -> float:
    notebook = Notebook(environ)
    try:
        notebook.run("%load_ext cellferry")
        return timed(lambda: notebook.run(f"%%remote {words}\n{IMPORTS}"))
    finally:
        notebook.close()


class Installer:
    """A virtual environment by ``uv pip sync`` of a lock (the floor), or by ``python -m venv`` and pip; then the imports."""

    def __init__(self, by: str) -> None:
        self._by = by
        self.steps: Mapping[str, Step] = {"environment": self.environment}
        self._folder: Path | None = None

    def setup(self) -> None:
        """The lock: the packages of this environment, at their versions here."""
        from cellferry.environment.describe import lock_found
        from cellferry.environment.installed import take_inventory
        from cellferry.environment.lock import Target
        from cellferry.environment.sources import read_sources

        self._folder = Path(tempfile.mkdtemp(prefix="cfi-"))
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        sources = read_sources(os.environ)
        self._lock = lock_found(ROOTS, take_inventory(), Target(version), sources).lock
        (self._folder / "pylock.toml").write_text(self._lock.text)
        for name, path in self._lock.files.items():
            (self._folder / name).parent.mkdir(exist_ok=True)
            (self._folder / name).symlink_to(path)
        pins = [f"{name}=={version}" for name, version in self._lock.versions.items()]
        (self._folder / "requirements.txt").write_text("\n".join(pins) + "\n")

    def teardown(self) -> None:
        """Remove what was made."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def environment(self) -> Samples:
        """Seconds up to the end of the imports in a new environment."""
        assert self._folder is not None
        venv = self._folder / f"venv{time.monotonic_ns()}"
        begin = time.perf_counter()
        if self._by == "uv":
            uv = str(Path(sys.executable).parent / "uv")
            self._run(uv, "venv", "-q", "--python", sys.executable, str(venv))
            self._run(uv, "pip", "sync", "-q", "--python", str(venv / "bin" / "python"), "pylock.toml")
        else:
            self._run(sys.executable, "-m", "venv", str(venv))
            self._run(str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "-r", "requirements.txt")
        self._run(str(venv / "bin" / "python"), "-c", IMPORTS)
        new_s = time.perf_counter() - begin
        shutil.rmtree(venv)
        return {"new_s": [new_s]}

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:4])} failed: {done.stderr[-500:]}")
