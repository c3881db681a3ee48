"""What is installed in the environment of this interpreter, and where each distribution came from."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Kind = Literal["index", "editable", "directory", "archive", "vcs", "conda"]


def canonicalize_name(name: str) -> str:
    """The normalised name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Origin:
    """Where a distribution came from (PEP 610). ``url`` never holds credentials; ``commit`` for VCS installs."""

    kind: Kind = "index"
    url: str = ""
    commit: str = ""
    subdirectory: str = ""

    @property
    def folder(self) -> Path | None:
        """The source folder of an editable or local-path install."""
        if self.kind not in ("editable", "directory"):
            return None
        return Path(unquote(urlsplit(self.url).path)) / self.subdirectory


@dataclass(frozen=True)
class Installed:
    """One distribution: ``info`` is its ``.dist-info`` folder. ``name`` is normalised (PEP 503)."""

    name: str
    version: str
    info: Path
    origin: Origin = field(default_factory=Origin)

    def requires(self) -> list[Requirement]:
        """What it needs, as its metadata says; lines that nobody can parse are left out."""
        from importlib.metadata import (
            PathDistribution,  # with packaging, a tenth of a second that most cells need not wait for
        )

        from packaging.requirements import InvalidRequirement, Requirement

        found = []
        for line in PathDistribution(self.info).requires or ():
            try:
                found.append(Requirement(line))
            except InvalidRequirement:
                continue
        return found


@dataclass(frozen=True)
class Inventory:
    """Everything installed here. ``modules``: which distributions have files below a top-level import name."""

    dists: Mapping[str, Installed]
    modules: Mapping[str, tuple[str, ...]]

    @property
    def versions(self) -> dict[str, str]:
        """Version by name of everything."""
        return {name: dist.version for name, dist in self.dists.items()}

    def closure(self, names: Iterable[str]) -> set[str]:
        """``names`` and what they need here, as far as it is installed; markers and extras are heeded."""
        found: set[str] = set()
        pending: list[tuple[str, frozenset[str]]] = [(canonicalize_name(n), frozenset()) for n in names]
        seen: set[tuple[str, frozenset[str]]] = set()
        while pending:
            name, extras = pending.pop()
            if (name, extras) in seen or name not in self.dists:
                continue
            seen.add((name, extras))
            found.add(name)
            for need in self.dists[name].requires():
                if _applies(need, extras):
                    pending.append((canonicalize_name(need.name), frozenset(need.extras)))
        return found


def _applies(need: Requirement, extras: frozenset[str]) -> bool:
    from packaging.markers import UndefinedEnvironmentName

    if need.marker is None:
        return True
    try:
        return any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    except UndefinedEnvironmentName:
        return False


_taken: dict[tuple[tuple[str, int], ...], Inventory] = {}


def take_inventory(paths: Sequence[str] | None = None) -> Inventory:
    """The distributions on ``paths`` (default: ``sys.path``); remembered while these folders are as they were."""
    folders = [path for path in dict.fromkeys(sys.path if paths is None else paths) if Path(path or ".").is_dir()]
    stamp = tuple((path, Path(path or ".").stat().st_mtime_ns) for path in folders)
    if stamp not in _taken:
        _taken.clear()
        _taken[stamp] = _read(folders)
    return _taken[stamp]


def _read(folders: Sequence[str]) -> Inventory:
    dists: dict[str, Installed] = {}
    modules: dict[str, set[str]] = {}
    for folder in folders:
        for info in sorted(Path(folder or ".").glob("*.dist-info")):
            name, _, version = info.name.removesuffix(".dist-info").partition("-")
            key = canonicalize_name(name)
            if not version or key in dists:
                continue  # the first on the path is the one that is imported
            dists[key] = Installed(key, version, info, _origin(info))
            for top in _top_levels(info):
                modules.setdefault(top, set()).add(key)
    return Inventory(dists, {top: tuple(sorted(names)) for top, names in modules.items()})


def _origin(info: Path) -> Origin:
    if _text(info / "INSTALLER").strip() == "conda":
        return Origin("conda")
    try:
        told = json.loads(_text(info / "direct_url.json") or "{}")
        return _direct(told) if told else Origin()
    except (ValueError, KeyError, AttributeError):
        return Origin()


def _direct(told: dict[str, dict[str, object]]) -> Origin:
    from cellferry.environment.uv import without_credentials

    url, subdirectory = without_credentials(str(told["url"]))[0], str(told.get("subdirectory") or "")
    if "vcs_info" in told:
        vcs = told["vcs_info"]
        return Origin("vcs", f"{vcs['vcs']}+{url}", str(vcs["commit_id"]), subdirectory)
    if "dir_info" in told:
        return Origin("editable" if told["dir_info"].get("editable") else "directory", url, "", subdirectory)
    return Origin("archive", url, "", subdirectory)


def _top_levels(info: Path) -> set[str]:
    """Import names below which this distribution has files; ``top_level.txt`` where there is one."""
    told = _text(info / "top_level.txt").split()
    if told:
        return set(told)
    found = set()
    for row in _text(info / "RECORD").splitlines():
        path = row.split(",", 1)[0].strip('"')
        first, slash, _rest = path.partition("/")
        if slash and first.isidentifier():
            found.add(first)
        elif not slash and path.endswith((".py", ".so", ".pyd")):
            found.add(first.partition(".")[0])
    return found | _editable_names(info)


def _editable_names(info: Path) -> set[str]:
    """Import names of an editable install that its RECORD does not list: what lies in its source folder."""
    origin = _origin(info)
    if origin.kind != "editable" or origin.folder is None:
        return set()
    places = [place for place in (origin.folder / "src", origin.folder) if place.is_dir()]
    for place in places:
        found = {p.name for p in place.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
        found |= {p.stem for p in place.glob("*.py")} - {"setup", "conftest", "noxfile"}
        if found:
            return found - {"tests", "docs"}
    return set()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def record_files(info: Path) -> list[Path]:
    """The files that belong to a distribution, as its RECORD names them, absolute."""
    rows = (row.rsplit(",", 2)[0].strip('"') for row in _text(info / "RECORD").splitlines() if row)
    return [Path(os.path.normpath(info.parent / row)) for row in rows]


__all__ = ["Installed", "Inventory", "Origin", "canonicalize_name", "record_files", "take_inventory"]
