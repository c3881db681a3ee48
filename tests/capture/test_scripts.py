"""Scripts bring along what they import from beside themselves; nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellferry.capture.dataflow import analyse
from cellferry.capture.modules import Disk
from cellferry.capture.scripts import with_their_imports

FILES = {
    "s.py": "import helper, os\nfrom pack.inner import x",
    "helper.py": "import json\nimport deeper",
    "deeper.py": "import helper",
    "pack/__init__.py": "",
    "pack/inner.py": "import beside",
    "beside.py": "",
    "unrelated.py": "",
    "tools/run.py": "import near",
    "tools/near.py": "",
    "near.py": "",
    "broken.py": "def (",
}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    import os

    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return Disk(os.walk, lambda path: Path(path).read_text(), lambda name: None)


@pytest.mark.parametrize(
    ("texts", "more"),
    [
        (["s.py"], {"helper.py", "deeper.py", "pack/__init__.py", "pack/inner.py", "beside.py"}),
        (["python", "s.py", "--fast"], {"helper.py", "deeper.py", "pack/__init__.py", "pack/inner.py", "beside.py"}),
        (["tools/run.py"], {"tools/near.py"}),
        (["helper"], set()),
        (["python", "-m", "helper"], {"helper.py", "deeper.py"}),
        (["broken.py", "missing.py", "/s.py", "x" * 300], set()),
    ],
)
def test_what_goes_along(disk: Disk, texts: list[str], more: set[str]) -> None:
    found = with_their_imports(texts, disk, lambda path: Path(path).is_file())
    assert found[: len(texts)] == texts
    assert set(found) - set(texts) == more


def test_run_names_its_script_without_a_suffix_too() -> None:
    flow = analyse("get_ipython().run_line_magic('run', '-i s --fast')")
    assert "s.py" in flow.strings
