"""Environments on a worker: virtual environments in a cache, each used by one worker at a time.

An *instance* is a folder with a virtual environment and a note of the lock that it was built from. A worker takes a
free one with the lock it wants, or a copy of it made of hard links, or an empty one that it fills. Because nobody else
uses it, it can grow while a kernel runs in it, and what a cell installs by hand stays in it: an instance that no longer
holds exactly what its note says is not given out again, but removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NOTE, LOCK, VENV = "note.json", "lock", "venv"
MOST_FREE = 12
"""Free instances that are kept, the last used ones."""
UNUSED_S = 30 * 86400.0


@dataclass
class Instance:
    """One environment, held by this process until it ends. ``key`` is the lock that it was built from, "" for none."""

    folder: Path
    descriptor: int
    key: str = ""

    @property
    def python(self) -> Path:
        return self.folder / VENV / "bin" / "python"

    @property
    def site(self) -> Path:
        """The folder that packages are installed into."""
        return next((self.folder / VENV / "lib").glob("python3*")) / "site-packages"

    def built(self, key: str) -> None:
        """Note that the environment holds exactly what the lock ``key`` says."""
        self.key = key
        note = self.folder / NOTE
        part = note.with_name(f"{NOTE}.part")
        part.write_text(json.dumps({"key": key, "holds": holds(self.site)}), "utf-8")
        part.replace(note)

    def growing(self) -> None:
        """Note that it holds nothing in particular for now."""
        self.key = ""
        (self.folder / NOTE).unlink(missing_ok=True)

    def close(self) -> None:
        """Give it back; the end of the process does the same."""
        os.close(self.descriptor)


def take(root: Path, key: str, version: str) -> Instance:
    """An instance for this process: one built from ``key`` if there is any (then its ``key`` is set), or an empty one.

    ``version`` is the Python that it must have ("3.11"). Called by a worker before it starts its kernel; never waits.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if key:
        for folder in _noted(root, key, version):
            descriptor = _hold(folder)
            if descriptor is not None:
                os.utime(folder)
                return Instance(folder, descriptor, key)
        for folder in _noted(root, key, version):
            with contextlib.suppress(OSError):
                return _copy(root, folder, key)
    return _empty(root, version)


def spare(root: Path, instance: Instance) -> None:
    """Leave a copy of ``instance`` for others before it grows, unless there is one: what was built once stays built."""
    if instance.key and len(list(_noted(root, instance.key, _version(instance.folder)))) < 2:
        with contextlib.suppress(OSError):
            _copy(root, instance.folder, instance.key).close()


def tidy(root: Path) -> None:
    """Remove what nobody will use: half-built ones, changed by hand, unused for long, or too many. Never one in use."""
    kept = 0
    for folder in sorted(_folders(root), key=_used_s, reverse=True):
        good = _is_pristine(folder) and time.time() - _used_s(folder) < UNUSED_S
        if good and kept < MOST_FREE:
            kept += 1
            continue
        descriptor = _hold(folder)
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def holds(site: Path) -> list[str]:
    """The distributions below a ``site-packages``, as the names of their ``.dist-info`` folders, sorted."""
    try:
        return sorted(entry.name for entry in os.scandir(site) if entry.name.endswith(".dist-info"))
    except OSError:
        return []


def versions(site: Path) -> dict[str, str]:
    """Normalised name and version of each distribution below a ``site-packages``."""
    from cellferry.environment.installed import canonicalize_name

    pairs = (name.removesuffix(".dist-info").partition("-") for name in holds(site))
    return {canonicalize_name(name): version for name, _, version in pairs}


def _folders(root: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (
            Path(entry.path) for entry in os.scandir(root) if entry.is_dir() and (Path(entry.path) / LOCK).exists()
        )


def _noted(root: Path, key: str, version: str) -> Iterator[Path]:
    for folder in _folders(root):
        if _version(folder) == version and _note(folder).get("key") == key and _is_pristine(folder):
            yield folder


def _note(folder: Path) -> dict[str, object]:
    try:
        found: dict[str, object] = json.loads((folder / NOTE).read_text("utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def _is_pristine(folder: Path) -> bool:
    note = _note(folder)
    site = next((folder / VENV / "lib").glob("python3*/site-packages"), None)
    works = (folder / VENV / "bin" / "python").exists()  # the Python it was made from may be gone
    return bool(note) and site is not None and works and note.get("holds") == holds(site)


def _version(folder: Path) -> str:
    lib = next((folder / VENV / "lib").glob("python3*"), None)
    return lib.name.removeprefix("python") if lib is not None else ""


def _used_s(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _hold(folder: Path) -> int | None:
    """An open descriptor with the folder's lock on it, or None while another process has it."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _new(root: Path) -> Instance:
    folder = root / uuid.uuid4().hex[:12]
    folder.mkdir(mode=0o700)
    descriptor = _hold(folder)
    assert descriptor is not None
    return Instance(folder, descriptor)


def _empty(root: Path, version: str) -> Instance:
    instance = _new(root)
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if version in ("", here):
        import venv

        venv.EnvBuilder(symlinks=True).create(instance.folder / VENV)
        return instance
    from cellferry.environment.uv import run_uv

    outcome = run_uv(["venv", "--quiet", "--python", version, str(instance.folder / VENV)])
    if not outcome.ok:
        from cellferry.errors import EnvironmentNotBuilt

        shutil.rmtree(instance.folder, ignore_errors=True)
        instance.close()
        raise EnvironmentNotBuilt(
            f"the worker has no Python {version}, as this notebook has, and could not install it:\n{outcome.err.strip()}",
            f"install it there: uv python install {version}; or name one that is there: env=python:/path/to/python",
        )
    return instance


def _copy(root: Path, folder: Path, key: str) -> Instance:
    """A new instance with the files of ``folder``, as hard links; scripts and settings that name the folder are rewritten."""
    instance = _new(root)
    try:
        _link_tree(folder / VENV, instance.folder / VENV, str(folder), str(instance.folder))
        instance.built(key)
    except BaseException:
        shutil.rmtree(instance.folder, ignore_errors=True)
        instance.close()
        raise
    return instance


def _link_tree(source: Path, target: Path, old: str, new: str) -> None:
    pending = [(str(source), str(target))]
    rewritten = str(source / "bin")
    while pending:
        here, there = pending.pop()
        os.mkdir(there)  # noqa: PTH102 - thousands of them: strings, not paths
        with os.scandir(here) as entries:
            for entry in entries:
                at = f"{there}/{entry.name}"
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), at)  # noqa: PTH115, PTH211
                elif entry.is_dir():
                    pending.append((entry.path, at))
                elif here == rewritten or entry.name == "pyvenv.cfg":
                    _rewritten(Path(entry.path), Path(at), old, new)
                else:
                    os.link(entry.path, at)


def _rewritten(source: Path, target: Path, old: str, new: str) -> None:
    data = source.read_bytes()
    target.write_bytes(data.replace(old.encode(), new.encode()))
    target.chmod(source.stat().st_mode)
