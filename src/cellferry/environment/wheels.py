"""Wheels of what no index has: made here, from the sources of an editable install or from the installed files."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from cellferry.environment.installed import Installed, record_files
from cellferry.environment.sources import Sources
from cellferry.environment.uv import run_uv
from cellferry.errors import EnvironmentFailed

_LEFT_OUT = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "uv_cache.json"})
_NEVER = frozenset(
    {".git", ".hg", ".venv", "venv", "__pycache__", "node_modules", ".tox", ".nox", "dist", ".mypy_cache"}
)
_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".pyx", ".pxd", ".rs", ".f", ".f90", ".cu")
_HEADS = frozenset({"pyproject.toml", "setup.py", "setup.cfg", "Cargo.toml", "CMakeLists.txt", "meson.build"})


def wheel_of(dist: Installed, cache: Path, sources: Sources) -> Path:
    """A wheel of ``dist`` below ``cache``, made now or found there. Raises EnvironmentFailed with the builder's words.

    Editable installs are built by their own build backend; everything else is put together again from the files that
    are installed, which needs neither its repository nor a compiler.
    """
    folder = cache / _key(dist)
    ready = sorted(folder.glob("*.whl"))
    if ready:
        return ready[0]
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".making-") as making:
        wheel = _build(dist, Path(making), sources) if dist.origin.kind == "editable" else _repack(dist, Path(making))
        folder.mkdir(exist_ok=True)
        return wheel.rename(folder / wheel.name)


def _key(dist: Installed) -> str:
    """Names the content: for an editable install its metadata and compiled sources (Python files travel as they are)."""
    digest = hashlib.sha256(f"{dist.name} {dist.version} {dist.origin}".encode())
    stamps = (
        _heads(dist.origin.folder) if dist.origin.kind == "editable" and dist.origin.folder else [dist.info / "RECORD"]
    )
    for path in stamps:
        try:
            status = path.stat()
            digest.update(f"{path} {status.st_mtime_ns} {status.st_size}".encode())
        except OSError:
            continue
    return f"{dist.name}-{digest.hexdigest()[:24]}"


def _heads(folder: Path) -> Iterable[Path]:
    found = []
    for at, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NEVER and not name.endswith(".egg-info")]
        found += [Path(at, f) for f in files if f in _HEADS or f.endswith(_SOURCES)]
    return sorted(found)


def _build(dist: Installed, making: Path, sources: Sources) -> Path:
    source = dist.origin.folder
    if source is None or not source.is_dir():
        raise EnvironmentFailed(
            f"{dist.name} is an editable install of {source}, which is not there any more",
            f"install it again: pip install -e PATH, or leave it out: pip uninstall {dist.name}",
        )
    outcome = run_uv(
        ["build", "--wheel", "--out-dir", str(making), *sources.arguments(), str(source)],
        credentials=sources.credentials,
        env={"TMPDIR": str(making)},  # uv leaves locks there
    )
    built = sorted(making.glob("*.whl"))
    if not outcome.ok or not built:
        tail = "\n".join(outcome.err.strip().splitlines()[-8:])
        raise EnvironmentFailed(
            f"{dist.name} (editable, {source}) cannot be built to a wheel:\n{tail}",
            f"try it: uv build --wheel {source}",
        )
    return built[0]


def _repack(dist: Installed, making: Path) -> Path:
    """A wheel of the installed files: what pip or uv wrote at the install is left out, the rest is as it came."""
    site = dist.info.parent
    files = [path for path in record_files(dist.info) if path.is_file() and _belongs(path, dist)]
    name = _wheel_name(dist)
    target, rows = making / name, []
    data = f"{dist.info.name.removesuffix('.dist-info')}.data/data"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as wheel:
        for path in files:
            inside = str(path.relative_to(site)) if path.is_relative_to(site) else _outside(path, site, data)
            if inside is None:
                continue
            wheel.write(path, inside)
            rows.append(f"{inside},sha256={_sha256(path)},{path.stat().st_size}")
        record = f"{dist.info.name}/RECORD"
        wheel.writestr(record, "\n".join([*rows, f"{record},,"]) + "\n")
    return target


def _belongs(path: Path, dist: Installed) -> bool:
    return not (path.parent == dist.info and path.name in _LEFT_OUT) and path.suffix != ".pyc"


def _outside(path: Path, site: Path, data: str) -> str | None:
    """Data files go where they were below the prefix; scripts are made anew from the entry points."""
    prefix = next((p for p in site.parents if (p / "bin").is_dir() and path.is_relative_to(p)), None)
    if prefix is None or path.parent == prefix / "bin":
        return None
    return f"{data}/{path.relative_to(prefix)}"


def _wheel_name(dist: Installed) -> str:
    try:
        tags = re.findall(r"^Tag:\s*(\S+)", (dist.info / "WHEEL").read_text("utf-8"), re.MULTILINE)
    except OSError:
        tags = []
    if not tags:
        raise EnvironmentFailed(
            f"{dist.name} {dist.version} is on no index, and how it was installed does not tell for which machines it is",
            f"install it from a folder, a repository or an index, or leave it out: pip uninstall {dist.name}",
        )
    joined = "-".join(".".join(sorted(set(column))) for column in zip(*(tag.split("-") for tag in tags), strict=True))
    return f"{dist.info.name.removesuffix('.dist-info')}-{joined}.whl"


def fits(wheel: str, supported: Iterable[str]) -> bool:
    """Whether a wheel's file name has one of the ``supported`` platform tags, or is for any."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        tags = {tag.platform for tag in parse_wheel_filename(wheel)[3]}
    except InvalidWheelFilename:
        return False
    return "any" in tags or not tags.isdisjoint(supported)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def forget_old(cache: Path, keep: int = 64) -> None:
    """Remove the wheels used longest ago; called after a lock was made."""
    try:
        folders = sorted(cache.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True)
    except OSError:
        return
    for folder in folders[keep:]:
        shutil.rmtree(folder, ignore_errors=True)
