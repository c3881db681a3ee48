"""What of the notebook's folder a worker elsewhere is shown: all that may travel, and not more than it can hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellferry.link import inventory as room
from cellferry.link.inventory import inventory


def _names(folder: Path, exchanged: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    found = inventory(folder, exchanged)
    assert found.complete
    return sorted([row[0] for row in found.files] + [f"{name}/" for name in found.folders])


def test_all_but_what_never_travels(tmp_path: Path) -> None:
    for name in (
        "data/deep/x.csv",
        "notes.txt",
        ".env",
        ".ssh/id_rsa",
        ".git/config",
        "__pycache__/m.pyc",
        "out/big.bin",
        "kept.log",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "key.txt").write_text("-----BEGIN PRIVATE" + " KEY-----\n")
    (tmp_path / ".gitignore").write_text("out/\n*.log\n")
    (tmp_path / "empty").mkdir()
    expected = [".gitignore", "data/", "data/deep/", "data/deep/x.csv", "empty/", "notes.txt"]
    assert _names(tmp_path) == expected
    assert _names(tmp_path, {"kept.log"}) == sorted([*expected, "kept.log"]), "both sides have had it"


def test_sizes_times_and_links(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    script = tmp_path / "elsewhere" / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "up").symlink_to(tmp_path / "here")
    (tmp_path / "here" / "nowhere").symlink_to(tmp_path / "none")
    found = inventory(tmp_path / "here", ())
    assert found.files == [("linked/run.sh", 10, script.stat().st_mtime_ns, True)] and found.complete


def test_it_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ENTRIES", 5)
    for number in range(9):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "x").touch()
    found = inventory(tmp_path, ())
    assert len(found.files) + len(found.folders) == 5 and not found.complete
