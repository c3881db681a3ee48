"""The benchmarks' own environment, ``.venv-bench``: this project and the peers, made with ``venv`` and ``pip``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-bench"
REQUIREMENTS = ROOT / "benchmarks" / "requirements.txt"
STAMP = FOLDER / "made-from"


def _recipe() -> str:
    parts = [REQUIREMENTS.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), sys.version.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def ensure() -> Path:
    """The environment's interpreter; the environment is made, or made anew, when what it comes from has changed."""
    python = FOLDER / "bin" / "python"
    if STAMP.exists() and STAMP.read_text() == _recipe() and python.exists():
        return python
    print(f"making {FOLDER} (this project and its peers; a few minutes the first time)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
    # Editable: what is measured is the checkout as it stands, without a new installation after each change.
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-e", str(ROOT), "-r", str(REQUIREMENTS)], check=True)
    STAMP.write_text(_recipe())
    return python
