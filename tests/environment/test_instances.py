"""Environments on a worker: taken by one at a time, copied, grown, and not given out when somebody changed them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cellferry.environment.building import build
from cellferry.environment.instances import holds, spare, take, tidy, versions
from cellferry.environment.lock import NAME, Target, resolve
from cellferry.environment.sources import Sources
from cellferry.environment.tools import clashes, tools_folder
from cellferry.errors import EnvironmentNotBuilt

from .wheelhouse import install_by_hand, make_wheel

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def lock_of(folder: Path, *wheels: Path):
    """A lock of these wheels, written beside copies of them; its folder is what ``build`` wants."""
    files = {f"wheels/{w.name}": w for w in wheels}
    lock = resolve(
        [f"{w.name.split('-')[0]} @ ./wheels/{w.name}" for w in wheels],
        [],
        files,
        Target(HERE),
        Sources(),
        folder / "locks",
    )
    place = folder / lock.key
    place.mkdir(exist_ok=True)
    (place / NAME).write_text(lock.text)
    for name, path in lock.files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(path.read_bytes())
    return lock, place


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    made = tmp_path / "made"
    return [make_wheel(made, f"lib_{n}", "1", {f"lib_{n}.py": f"NAME = {n!r}"}) for n in "ab"]


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout.strip()


def test_an_environment_is_built_once_and_used_by_one_at_a_time(tmp_path: Path, wheels: list[Path]) -> None:
    root = tmp_path / "environments"
    lock, place = lock_of(tmp_path, wheels[0])
    first = take(root, lock.key, HERE)
    assert first.key == ""
    told: list[str] = []
    built = build(root, first, lock.key, place, lock.versions, {}, told.append)
    assert built.versions == {"lib-a": "1"} and run(first.python, "import lib_a; print(lib_a.NAME)") == "a"
    second = take(root, lock.key, HERE)  # the first is in use: this is a copy, of the same files
    assert second.key == lock.key and second.folder != first.folder
    assert (second.site / "lib_a.py").samefile(first.site / "lib_a.py")
    assert run(second.python, "import sys, lib_a; print(sys.prefix, lib_a.__file__)").count(str(second.folder)) == 2
    first.close()
    third = take(root, lock.key, HERE)
    assert third.folder == first.folder
    second.close()
    third.close()


def test_what_a_cell_installed_by_hand_is_not_given_to_the_next(tmp_path: Path, wheels: list[Path]) -> None:
    root = tmp_path / "environments"
    lock, place = lock_of(tmp_path, wheels[0])
    instance = take(root, lock.key, HERE)
    build(root, instance, lock.key, place, lock.versions, {}, lambda line: None)
    install_by_hand(instance.site, wheels[1])
    instance.close()
    other = take(root, lock.key, HERE)
    assert other.key == "" and not holds(other.site)
    tidy(root)
    assert not instance.folder.exists() and other.folder.exists()
    other.close()


def test_growing_leaves_what_was_built_to_others(tmp_path: Path, wheels: list[Path]) -> None:
    root = tmp_path / "environments"
    small, small_place = lock_of(tmp_path, wheels[0])
    large, large_place = lock_of(tmp_path, *wheels)
    instance = take(root, small.key, HERE)
    build(root, instance, small.key, small_place, small.versions, {}, lambda line: None)
    build(root, instance, large.key, large_place, large.versions, {}, lambda line: None)
    assert versions(instance.site) == {"lib-a": "1", "lib-b": "1"}
    other = take(root, small.key, HERE)
    assert other.key == small.key and versions(other.site) == {"lib-a": "1"}
    instance.close()
    other.close()


def test_what_a_kernel_may_have_loaded_is_not_replaced(tmp_path: Path, wheels: list[Path]) -> None:
    root = tmp_path / "environments"
    lock, place = lock_of(tmp_path, wheels[0])
    instance = take(root, lock.key, HERE)
    build(root, instance, lock.key, place, lock.versions, {}, lambda line: None)
    newer, newer_place = lock_of(tmp_path, make_wheel(tmp_path / "made", "lib_a", "2", {"lib_a.py": ""}))
    with pytest.raises(EnvironmentNotBuilt, match=r"lib-a 1 \(wanted: 2\)"):
        build(root, instance, newer.key, newer_place, newer.versions, {}, lambda line: None)
    assert instance.key == lock.key
    instance.close()


def test_a_wheel_that_is_not_what_the_lock_says_is_refused(tmp_path: Path, wheels: list[Path]) -> None:
    root = tmp_path / "environments"
    lock, place = lock_of(tmp_path, wheels[0])
    file = next((place / "wheels").iterdir())
    make_wheel(file.parent, "lib_a", "1", {"lib_a.py": "NAME = 'z'"})
    instance = take(root, lock.key, HERE)
    with pytest.raises(EnvironmentNotBuilt, match=r"(?i)hash"):
        build(root, instance, lock.key, place, lock.versions, {}, lambda line: None)
    assert instance.key == "" and not holds(instance.site)
    instance.close()


def test_a_copy_left_over_is_found_again_only_once(tmp_path: Path, wheels: list[Path]) -> None:
    root = tmp_path / "environments"
    lock, place = lock_of(tmp_path, wheels[0])
    instance = take(root, lock.key, HERE)
    build(root, instance, lock.key, place, lock.versions, {}, lambda line: None)
    spare(root, instance)
    spare(root, instance)
    assert len(list(root.iterdir())) == 2
    instance.close()


def test_tools_stand_beside_an_environment(tmp_path: Path) -> None:
    """Everything that the kernel's side needs can be imported from the folder of tools alone, and nothing else is in it."""
    tools = tools_folder(tmp_path)
    assert tools_folder(tmp_path) == tools
    instance = take(tmp_path / "environments", "", HERE)
    code = f"import sys; sys.path.append({str(tools)!r}); import cellferry.guest.app; print(sys.modules['IPython'].__file__)"
    assert run(instance.python, code).startswith(str(tools))
    assert not (tools / "numpy").exists() and not (tools / "jupyter_server").exists()
    instance.close()


def test_packages_that_do_not_fit_the_tools_are_named() -> None:
    assert clashes({"ipykernel": "6.29", "numpy": "1"}) and "ipykernel 6.29" in clashes({"ipykernel": "6.29"})[0]
    assert not clashes({"ipykernel": "99"})
