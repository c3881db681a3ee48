"""The worker's own software for a kernel that runs in the user's environment: beside it, never in it.

A folder of links to exactly the distributions that the kernel's side of cellferry needs, taken from the environment
that the worker itself runs in: the client's exact versions. It stands last on the kernel's path, so the user's own
packages always come first.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cellferry.errors import EnvironmentNotBuilt

if TYPE_CHECKING:
    from cellferry.environment.installed import Inventory

ROOTS = ("ipykernel", "ipython", "jupyter-client", "cloudpickle", "blake3", "xxhash", "traitlets", "pyzmq", "psutil")
"""What a kernel on a worker imports of its own accord; the rest follows from their metadata."""


def tools_folder(cache: Path, version: str = "", python: str = "") -> Path:
    """The folder of tools for the interpreter ``python`` of minor ``version`` ("" for this one), made if it is not there.

    Raises EnvironmentNotBuilt if the tools for another Python cannot be installed.
    """
    known = cache / "tools" / f".known-{_stamp(version, python)}"
    try:
        folder = cache / "tools" / known.read_text("utf-8")
        if folder.is_dir():
            return folder
    except OSError:
        pass
    from cellferry.environment.installed import take_inventory  # slow to read, and seldom needed

    inventory = take_inventory()
    names = sorted(inventory.closure(ROOTS))
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    stamp = "".join(f"{n} {inventory.dists[n].version} {inventory.dists[n].info}\n" for n in names) + str(_ourselves())
    digest = hashlib.sha256(stamp.encode()).hexdigest()[:16]
    folder = cache / "tools" / f"{version or here}-{digest}"
    if not folder.is_dir():
        making = folder.with_name(f".{folder.name}.{os.getpid()}")
        making.mkdir(mode=0o700, parents=True, exist_ok=True)
        if version in ("", here):
            _link(making, names, inventory)
        else:
            _install(making, names, inventory, version, python or version)
        (making / "cellferry").symlink_to(_ourselves())
        try:
            making.rename(folder)
        except OSError:
            shutil.rmtree(making, ignore_errors=True)  # another worker was first
    known.write_text(folder.name, "utf-8")
    return folder


def _stamp(version: str, python: str) -> str:
    """Says whether anything may have been installed here since: the folders of this interpreter's packages."""
    places = [(path, Path(path).stat().st_mtime_ns) for path in sys.path if path.endswith("-packages") and Path(path).is_dir()]
    return hashlib.sha256(f"{places} {version} {python} {_ourselves()}".encode()).hexdigest()[:16]


def _ourselves() -> Path:
    return Path(__file__).parents[1]


def _link(folder: Path, names: Iterable[str], inventory: Inventory) -> None:
    from cellferry.environment.installed import record_files

    for name in names:
        info = inventory.dists[name].info
        tops = {
            path.relative_to(info.parent).parts[0] for path in record_files(info) if path.is_relative_to(info.parent)
        }
        for top in tops - {"__pycache__", "bin"}:
            if not top.endswith(".pth") and not (folder / top).is_symlink():
                (folder / top).symlink_to(info.parent / top)


def _install(folder: Path, names: Iterable[str], inventory: Inventory, version: str, python: str) -> None:
    from cellferry.environment.uv import run_uv

    pins = [f"{name}=={inventory.dists[name].version}" for name in names]
    outcome = run_uv(["pip", "install", "--quiet", "--python", python, "--target", str(folder), *pins])
    if not outcome.ok:
        shutil.rmtree(folder, ignore_errors=True)
        raise EnvironmentNotBuilt(
            f"the worker's own tools cannot be installed for Python {version}:\n{outcome.err.strip()}",
            f"use the Python of this notebook there: {sys.version_info[0]}.{sys.version_info[1]}",
        )


def clashes(versions: dict[str, str]) -> list[str]:
    """What in an environment would come before the worker's tools and does not fit them, as lines for an error.

    ``versions``: name and version of what is installed there. The bounds are those of cellferry itself.
    """
    from packaging.requirements import Requirement

    from cellferry.environment.installed import canonicalize_name, take_inventory

    inventory = take_inventory()
    own = inventory.dists.get("cellferry")
    needs: list[Requirement] = own.requires() if own is not None else []
    tools = inventory.closure(ROOTS)
    found = []
    for need in needs:
        name = canonicalize_name(need.name)
        there = versions.get(name)
        if (
            there is not None
            and name in tools
            and need.marker is None
            and not need.specifier.contains(there, prereleases=True)
        ):
            found.append(f"{name} {there} is there, the worker's kernel needs {need.name}{need.specifier}")
    return found
