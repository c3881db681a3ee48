"""The software of a worker elsewhere: this installation, exactly."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cellferry.environment import kit
from cellferry.environment.installed import Inventory, take_inventory
from cellferry.environment.kit import software_kit
from cellferry.environment.uv import uv_binary
from cellferry.errors import EnvironmentFailed

PACKAGE = Path(kit.__file__).parents[1]


def test_equal_contents_are_equal_bytes(tmp_path: Path) -> None:
    one, again, elsewhere = software_kit(tmp_path / "a"), software_kit(tmp_path / "a"), software_kit(tmp_path / "b")
    assert one == again and one.key == elsewhere.key and one.size_bytes > 0
    assert one.wheels[0].read_bytes() == elsewhere.wheels[0].read_bytes()
    assert one.python == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_the_wheel_is_the_package_as_it_runs_here(tmp_path: Path) -> None:
    with zipfile.ZipFile(software_kit(tmp_path).wheels[0]) as wheel:
        names = wheel.namelist()
        assert wheel.testzip() is None and not [name for name in names if name.endswith(".pyc")]
        for path in PACKAGE.rglob("*.py"):
            assert wheel.read(f"cellferry/{path.relative_to(PACKAGE).as_posix()}") == path.read_bytes()
        (record,) = [name for name in names if name.endswith("/RECORD")]
        rows = wheel.read(record).decode().splitlines()
    assert {row.split(",")[0] for row in rows} == set(names)


def test_everything_is_pinned_at_the_version_here(tmp_path: Path) -> None:
    lines = software_kit(tmp_path).requirements.splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[^+\s]+", line) for line in lines), "names, versions, no local label"
    versions = take_inventory().versions
    assert {line.partition("==")[0]: line.partition("==")[2] for line in lines}.items() <= {
        name: version.partition("+")[0] for name, version in versions.items()
    }.items()
    assert {"ipykernel", "jupyter-server", "uv", "pyzmq"} <= {line.partition("==")[0] for line in lines}


def test_a_change_of_one_file_is_another_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = software_kit(tmp_path)
    real = kit._contents
    monkeypatch.setattr(kit, "_contents", lambda ours: [*real(ours), ("cellferry/new.py", b"x = 1\n")])
    after = software_kit(tmp_path)
    assert before.key != after.key and before.requirements == after.requirements
    assert before.wheels[0].exists() and after.wheels[0] != before.wheels[0]


def test_old_wheels_of_ourselves_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = kit._contents
    for number in range(kit.KEPT + 3):
        text = f"x = {number}\n".encode()
        monkeypatch.setattr(kit, "_contents", lambda ours, text=text: [*real(ours), ("cellferry/new.py", text)])
        last = software_kit(tmp_path)
    assert len(list((tmp_path / "kit").iterdir())) == kit.KEPT and last.wheels[0].exists()


def test_what_no_index_has_travels_as_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "xxhash"
    source.mkdir()
    (source / "setup.py").write_text("")
    inventory = take_inventory()
    made = tmp_path / "xxhash-9-py3-none-any.whl"
    made.write_bytes(b"wheel")
    places: list[Path] = []
    origin = dataclasses.replace(inventory.dists["xxhash"].origin, kind="editable", url=source.as_uri())
    changed = Inventory(
        {**inventory.dists, "xxhash": dataclasses.replace(inventory.dists["xxhash"], origin=origin)}, inventory.modules
    )
    monkeypatch.setattr(kit, "take_inventory", lambda: changed)
    monkeypatch.setattr(kit, "wheel_of", lambda dist, cache, sources: places.append(cache) or made)
    first = software_kit(tmp_path / "cache")
    assert first.wheels[1:] == (made,) and "xxhash" not in first.requirements
    (source / "xxhash.py").write_text("x = 1\n")
    software_kit(tmp_path / "cache")
    assert places[0] != places[1], "a changed source is built again"


def test_cellferry_that_is_only_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit, "take_inventory", lambda: Inventory({}, {}))
    with pytest.raises(EnvironmentFailed, match="not installed") as caught:
        software_kit(tmp_path)
    assert "pip install -e" in caught.value.advice


@pytest.mark.slow
def test_an_environment_made_of_it_runs_a_worker(tmp_path: Path) -> None:
    made = software_kit(tmp_path / "cache")
    (tmp_path / "requirements.txt").write_text(made.requirements)
    python = tmp_path / "venv" / "bin" / "python"
    uv = uv_binary()
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv"], check=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "--no-deps", "--python", python, "-r", "requirements.txt", *made.wheels],
        check=True, cwd=tmp_path,
    )  # fmt: skip
    subprocess.run([uv, "pip", "check", "-q", "--python", python], check=True)
    code = "import cellferry.worker.server, cellferry; print(cellferry.__file__)"
    told = subprocess.run([python, "-P", "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert Path(told.strip()).is_relative_to(tmp_path / "venv")
