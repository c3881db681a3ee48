"""What the extension adds to JupyterLab: its size, its lock, its version."""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

import cellferry

ROOT = Path(__file__).parents[2]
BUILT = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "@cellferry" / "lab"
MOST_BYTES = 300_000


def test_all_of_it_compressed_is_small():
    sizes = {file.name: len(gzip.compress(file.read_bytes())) for file in (BUILT / "static").glob("*.js")}
    assert sizes, f"the extension is not installed at {BUILT}"
    print(sum(sizes.values()), "bytes compressed:", sizes)
    assert sum(sizes.values()) < MOST_BYTES


def test_front_and_back_have_one_version():
    assert json.loads((ROOT / "package.json").read_text())["version"] == cellferry.__version__
    assert json.loads((BUILT / "package.json").read_text())["version"] == cellferry.__version__


def test_the_lock_names_no_host():
    lock = (ROOT / "yarn.lock").read_text()
    assert "://" not in lock and len(re.findall(r"^  checksum: ", lock, re.M)) > 100
