"""Both ends prove who they are: another user of this machine, or of the worker's, may put anything where others can write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellferry.jupyter.left import left_here
from cellferry.shared_folder import is_there, our_folders, read_ours

STRANGER = 64123
NOTEBOOK = "/home/ana/n.ipynb"
FORGED = json.dumps({"run": "forged", "notebook": NOTEBOOK, "number": 1})

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a second user needs root")


def as_stranger(script: str, *, stdin: str = "", cwd: Path = Path("/tmp")) -> None:
    """What somebody else on this machine types."""
    argv = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "sh", "-euc", script]
    subprocess.run(argv, input=stdin, text=True, cwd=cwd, check=True)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As /tmp: everybody may write, nobody may touch what is another's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    monkeypatch.setenv("CELLFERRY_WORKER_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def a_run(folder: Path, run: str = "mine") -> Path:
    (folder / "runs" / run).mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "runs" / run / "orphan").touch()
    (folder / "runs" / run / "run.json").write_text(json.dumps({"run": run, "notebook": NOTEBOOK, "number": 3}))
    return folder / "runs" / run


@pytest.mark.timeout(30)
@pytest.mark.parametrize("script", [
    "mkdir -p cf-x/runs/x; touch cf-x/runs/x/orphan; mkfifo cf-x/runs/x/run.json",
    "mkdir -p cf-x/runs/x; touch cf-x/runs/x/orphan; cat > cf-x/runs/x/run.json",
    "mkdir -p cf-x/runs/x; ln -s \"$PWD/cf-ours/runs/mine/orphan\" cf-x/runs/x/orphan; cat > cf-x/runs/x/run.json",
    "mkdir -p cf-x/runs; ln -s \"$PWD/cf-ours/runs/mine\" cf-x/runs/x",
    "ln -s cf-ours cf-x",
    "mkdir -p cf-x/runs/x; touch cf-x/runs/x/orphan; truncate -s 1T cf-x/runs/x/run.json",
])  # fmt: skip
def test_a_stranger_offers_nothing_and_holds_nothing_up(shared: Path, script: str) -> None:
    a_run(shared / "cf-ours")
    as_stranger(script, stdin=FORGED, cwd=shared)
    assert list(left_here(NOTEBOOK)) == [("mine", 3)]
    assert list(our_folders(shared, "cf-")) == [shared / "cf-ours"]


def test_a_folder_of_ours_that_others_may_write_is_not_ours_alone(shared: Path) -> None:
    a_run(shared / "cf-ours")
    (shared / "cf-ours").chmod(0o777)
    assert not list(left_here(NOTEBOOK))


def test_only_a_regular_file_of_ours_of_a_decent_size_is_read(shared: Path) -> None:
    folder = shared / "cf-ours"
    run = a_run(folder)
    assert read_ours(folder, "runs", "mine", "run.json") == (run / "run.json").read_bytes()
    os.mkfifo(run / "pipe")
    (run / "link").symlink_to(run / "run.json")
    (run / "theirs").write_text("x")
    os.chown(run / "theirs", STRANGER, STRANGER)
    (run / "large").write_bytes(b"x" * 100)
    for name in ("pipe", "link", "theirs"):
        with pytest.raises(OSError):
            read_ours(folder, "runs", "mine", name)
        assert not is_there(folder, "runs", "mine", name)
    with pytest.raises(PermissionError, match="larger"):
        read_ours(folder, "runs", "mine", "large", most_bytes=99)
    with pytest.raises(FileNotFoundError):
        read_ours(folder, "runs", "none", "run.json")
