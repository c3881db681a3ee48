"""What the build of the extension for JupyterLab decides before it builds."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

HOOK = Path(__file__).parents[1] / "labextension" / "build_hook.py"
BUNDLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_hook", HOOK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_node_trusts_whom_pip_trusts(hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hook, "CA_BUNDLES", (str(tmp_path / "none.pem"), str(tmp_path / "system.pem")))
    assert hook.authorities() == {}
    (tmp_path / "system.pem").touch()
    assert hook.authorities() == {"NODE_EXTRA_CA_CERTS": str(tmp_path / "system.pem")}
    (tmp_path / "mine.pem").touch()
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "mine.pem"))
    assert hook.authorities() == {"NODE_EXTRA_CA_CERTS": str(tmp_path / "mine.pem")}
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", "what the user says")
    assert hook.authorities() == {}


def test_what_was_built_from_these_sources_is_not_built_again(hook: ModuleType, tmp_path: Path) -> None:
    for name in hook.SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOOK.parents[1] / name, tmp_path / name)
    for folder in hook.SOURCE_FOLDERS:
        shutil.copytree(HOOK.parents[1] / folder, tmp_path / folder)
    assert not hook.is_fresh(tmp_path)
    (tmp_path / hook.STAMP).parent.mkdir(parents=True)
    (tmp_path / hook.STAMP).write_text(hook.digest(tmp_path))
    assert hook.is_fresh(tmp_path)
    (tmp_path / "package.json").write_text(f"{sys.version}")
    assert not hook.is_fresh(tmp_path)
