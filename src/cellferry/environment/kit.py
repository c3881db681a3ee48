"""What a worker on another machine must have: exactly this cellferry, and what it needs in exactly these versions."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cellferry.environment.found import OURSELVES, not_on_an_index
from cellferry.environment.installed import Installed, take_inventory
from cellferry.environment.sources import read_sources
from cellferry.environment.wheels import wheel_of
from cellferry.errors import EnvironmentFailed

KEPT = 8
"""Wheels of cellferry that stay in the cache: each change of an editable install makes one."""
_METADATA = ("METADATA", "WHEEL", "entry_points.txt")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the wheel, so that equal contents are equal bytes."""


@dataclass(frozen=True)
class Kit:
    """The software of a worker elsewhere. Two kits with one ``key`` are the same in every byte.

    ``wheels`` are files on this machine that no index has, cellferry's own first. ``requirements`` names everything else,
    a line ``name==version`` each; the two together are complete, so they are installed with ``--no-deps``:
    ``uv pip install --no-deps -r requirements.txt *.whl``. ``python`` ("3.11") is the minor version they were chosen for.
    """

    key: str
    version: str
    python: str
    wheels: tuple[Path, ...]
    requirements: str

    @property
    def size_bytes(self) -> int:
        """Of the wheels, which have to be sent."""
        return sum(wheel.stat().st_size for wheel in self.wheels)


def software_kit(cache: Path) -> Kit:
    """The kit of this installation; its wheels are made below ``cache`` or found there.

    Of an editable install the files travel as they are now. Called by providers of other machines before each start: a
    twentieth of a second when nothing has changed. Raises EnvironmentFailed.
    """
    inventory = take_inventory()
    ours = inventory.dists.get(OURSELVES)
    if ours is None:
        raise EnvironmentFailed(
            "cellferry is not installed in this Python, only imported: what it needs elsewhere is not known",
            "install it: pip install -e /the/folder/of/cellferry",
        )
    needed = [inventory.dists[name] for name in sorted(inventory.closure([OURSELVES]) - {OURSELVES})]
    local = not_on_an_index(needed)
    wheels = (_own_wheel(ours, cache / "kit"), *_wheels_of(local, cache))
    requirements = "".join(f"{dist.name}=={_version(dist)}\n" for dist in needed if dist not in local)
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return Kit(_key(python, requirements, wheels), ours.version, python, wheels, requirements)


def _version(dist: Installed) -> str:
    """Without a local label (``+cpu``): that is a build for this machine."""
    return dist.version.partition("+")[0]


def _key(python: str, requirements: str, wheels: Iterable[Path]) -> str:
    digest = hashlib.sha256(f"{python}\n{requirements}".encode())
    for wheel in wheels:
        digest.update(f"{wheel.name}\n".encode() + _digest(wheel))
    return digest.hexdigest()[:24]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _wheels_of(local: Iterable[Installed], cache: Path) -> Iterator[Path]:
    """Wheels of the other distributions that no index has; those of editable ones by what their folders hold now."""
    for dist in local:
        place = cache / "wheels"
        if dist.origin.kind == "editable" and dist.origin.folder is not None:
            place = place / f"of-{_stamp(dist.origin.folder)}"
        yield wheel_of(dist, place, read_sources(os.environ))


def _stamp(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(folder):
        status = path.stat()
        digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()[:16]


# -- cellferry's own wheel --------------------------------------------------------------------------------------------


def _own_wheel(ours: Installed, cache: Path) -> Path:
    """A wheel of the package as it runs here, put together without a build backend: it is Python files alone.

    The format is PEP 427's (https://packaging.python.org/en/latest/specifications/binary-distribution-format/).
    """
    contents = dict(_contents(ours))
    digest = hashlib.sha256()
    for name, data in contents.items():
        digest.update(f"{name}\n{len(data)}\n".encode() + data)
    folder = cache / digest.hexdigest()[:24]
    wheel = folder / f"{OURSELVES}-{ours.version}-py3-none-any.whl"
    if wheel.exists():
        os.utime(folder)
        return wheel
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".making-") as making:
        part = Path(making) / wheel.name
        _write(part, contents, f"{OURSELVES}-{ours.version}.dist-info/RECORD")
        part.replace(wheel)
    _forget_old(cache)
    return wheel


def _contents(ours: Installed) -> Iterator[tuple[str, bytes]]:
    package = Path(__file__).parents[1]
    for path in _files(package):
        yield f"{OURSELVES}/{path.relative_to(package).as_posix()}", path.read_bytes()
    for name in _METADATA:
        path = ours.info / name
        if path.exists():
            yield f"{OURSELVES}-{ours.version}.dist-info/{name}", path.read_bytes()


def _files(folder: Path) -> Iterator[Path]:
    """Everything below ``folder`` that is part of a package, in a fixed order; no caches, nothing hidden."""
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in ("__pycache__", "node_modules", "venv"))
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith((".pyc", ".pyo")):
                yield Path(at, name)


def _write(target: Path, contents: dict[str, bytes], record: str) -> None:
    from base64 import urlsafe_b64encode

    rows = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in contents.items():
            wheel.writestr(_entry(name), data)
            digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(data)}\n")
        wheel.writestr(_entry(record), "".join(rows) + f"{record},,\n")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
    return entry


def _forget_old(cache: Path) -> None:
    """Remove the wheels used longest ago."""
    import shutil

    folders = sorted((f for f in cache.iterdir() if not f.name.startswith(".")), key=lambda f: f.stat().st_mtime, reverse=True)
    for folder in folders[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)


