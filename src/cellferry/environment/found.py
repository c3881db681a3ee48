"""Which distributions a cell needs, found from the modules that it uses; pure, given an inventory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cellferry.environment.installed import Installed, Inventory, record_files

OURSELVES = "cellferry"
_BY_VALUE = frozenset({"__main__", "__mp_main__"})


@dataclass(frozen=True)
class Wanted:
    """``dists``: names of the distributions behind some modules, sorted. ``unknown``: top-level names that none has."""

    dists: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def wanted(modules: Iterable[str], inventory: Inventory) -> Wanted:
    """The distributions that provide ``modules`` (dotted names); the standard library, cellferry and the notebook left out.

    A namespace package that several distributions share (``google``) is narrowed down by the rest of the dotted name,
    where that says which.
    """
    found: set[str] = set()
    unknown: set[str] = set()
    for module in modules:
        top = module.partition(".")[0]
        if not top or top in sys.stdlib_module_names or top in _BY_VALUE or top == OURSELVES:
            continue
        names = inventory.modules.get(top, ())
        if not names:
            unknown.add(top)
        elif len(names) == 1:
            found.add(names[0])
        else:
            found.update(_narrowed(module, [inventory.dists[name] for name in names]))
    return Wanted(tuple(sorted(found - {OURSELVES})), tuple(sorted(unknown)))


def _narrowed(module: str, dists: list[Installed]) -> list[str]:
    """Those of ``dists`` with a file below the longest part of the dotted name that any of them has."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        prefix = Path(*parts[:length])
        having = [d.name for d in dists if any(_below(f, d.info.parent / prefix) for f in record_files(d.info))]
        if having:
            return having
    return [dist.name for dist in dists]


def _below(file: Path, prefix: Path) -> bool:
    return file.is_relative_to(prefix) or file.with_suffix("") == prefix


def requirements(names: Iterable[str], inventory: Inventory, wheels: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(requirements, constraints) for uv: ``names`` as they are here, everything else held at its version here.

    ``wheels``: relative paths of the wheels of distributions that no index has (editable, local, VCS).
    """
    lines = [f"{name} @ {wheels[name]}" if name in wheels else _pin(inventory.dists[name]) for name in sorted(names)]
    held = [_pin(dist) for name, dist in sorted(inventory.dists.items()) if name not in wheels and name != OURSELVES]
    return lines, held


def _pin(dist: Installed) -> str:
    """``name==version``. A local label (``+cpu``) is a build for this machine: the worker may need another."""
    return f"{dist.name}=={dist.version.partition('+')[0]}"


def not_on_an_index(dists: Iterable[Installed]) -> list[Installed]:
    """Those that have to be sent: editable, local-path, VCS and file installs. An ``https`` archive is fetched there."""
    return [
        dist
        for dist in dists
        if dist.origin.kind in ("editable", "directory", "vcs")
        or (dist.origin.kind == "archive" and dist.origin.url.startswith("file:"))
    ]
