"""A lock: the exact packages for one worker, as a standard ``pylock.toml`` (PEP 751), resolved by uv.

A lock holds no credentials. What no index has travels with it, named by a path relative to the lock and by its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cellferry.environment.installed import canonicalize_name
from cellferry.environment.sources import Sources
from cellferry.environment.uv import run_uv, without_credentials
from cellferry.errors import EnvironmentFailed

NAME = "pylock.toml"
"""The name of a lock's file; uv recognises the format by it."""


@dataclass(frozen=True)
class Target:
    """For what an environment is made. ``python``: "3.11". ``platform``: uv's name of it, "" for one like this machine.

    ``torch_backend``: "cpu", "cu128" ..., "" to leave PyTorch's builds as the indexes give them.
    """

    python: str
    platform: str = ""
    torch_backend: str = ""

    def arguments(self) -> list[str]:
        found = ["--python-version", self.python]
        found += ["--python-platform", self.platform] if self.platform else []
        return found + (["--torch-backend", self.torch_backend] if self.torch_backend else [])


@dataclass(frozen=True)
class LockedPackage:
    """One package of a lock. ``size_bytes``: of what is downloaded or sent, 0 where the index does not tell."""

    name: str
    version: str
    size_bytes: int = 0
    sent: bool = False
    """It goes from here, not from an index."""


@dataclass(frozen=True)
class Lock:
    """``text`` is the file; ``files`` are what travels with it, by the relative path that the text gives them."""

    text: str
    packages: tuple[LockedPackage, ...]
    python: str
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names the environment: equal locks make equal environments."""
        return hashlib.sha256(f"{self.python}\n{self.text}".encode()).hexdigest()[:32]

    @property
    def versions(self) -> dict[str, str]:
        return {package.name: package.version for package in self.packages}

    @property
    def size_bytes(self) -> int:
        return sum(package.size_bytes for package in self.packages)


@dataclass(frozen=True)
class Described:
    """A lock, and lines for the user: what was left out and why."""

    lock: Lock
    notes: tuple[str, ...] = ()


class Unsolved(EnvironmentFailed):
    """uv found no solution; ``said`` are its words."""

    def __init__(self, said: str) -> None:
        super().__init__(
            f"the packages that this cell needs cannot all be had for the worker:\n{said}",
            "change what is named above, or choose them yourself: env=requirements.txt",
        )
        self.said = said


def resolve(
    requirements: Sequence[str], constraints: Sequence[str], files: Mapping[str, Path], target: Target,
    sources: Sources, cache: Path,
) -> Lock:  # fmt: skip
    """The lock for these requirements; remembered below ``cache`` by everything that it was made from.

    ``files``: wheels made here, by the relative paths that ``requirements`` give them. Raises Unsolved.
    """
    asked = {
        "requirements": list(requirements), "constraints": list(constraints), "target": target.arguments(),
        "files": {name: str(path) for name, path in files.items()}, "sources": sources.arguments(),
    }  # fmt: skip
    kept = cache / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
    found = _remembered(kept, target.python)
    if found is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="cellferry-lock-") as place:
        folder = Path(place)
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(path)
        (folder / "requirements.in").write_text("\n".join(requirements) + "\n", "utf-8")
        (folder / "constraints.txt").write_text("\n".join(constraints) + "\n", "utf-8")
        text = compile_lock(["--constraint", "constraints.txt", "requirements.in"], folder, target, sources)
        lock = read_lock(text, folder, target.python, sources)
    _remember(kept, lock)
    return lock


def compile_lock(args: Sequence[str], folder: Path, target: Target, sources: Sources) -> str:
    """What ``uv pip compile ARGS`` makes in ``folder``; raises Unsolved."""
    outcome = run_uv(
        ["pip", "compile", "--quiet", "--format", NAME, "--no-header", *target.arguments(), *sources.arguments(), *args],
        cwd=folder, credentials=sources.credentials,
    )  # fmt: skip
    if not outcome.ok:
        raise Unsolved(outcome.err.strip())
    return outcome.out


def read_lock(text: str, folder: Path, python: str, sources: Sources) -> Lock:
    """A lock from its text; ``folder`` is where its relative paths begin.

    Files of this machine that it names, by path or ``file:``, become files that travel. Raises EnvironmentFailed for
    a text that is no lock or a file that is not there.
    """
    try:
        document = tomllib.loads(text)
        entries = list(document["packages"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as exc:
        raise EnvironmentFailed(
            f"this is not a lock as PEP 751 describes it: {exc}", "uv export --format pylock.toml"
        ) from exc
    files: dict[str, Path] = {}
    for entry in entries:
        _settle(entry, folder, files, sources)
    import tomli_w

    return Lock(tomli_w.dumps(document), tuple(map(_package, entries)), python, files)


def _settle(entry: dict[str, Any], folder: Path, files: dict[str, Path], sources: Sources) -> None:
    """Make one package's sources such that they hold no credentials, and mean the same on another machine."""
    entry.pop("index", None)
    if "directory" in entry:
        path = built(folder / entry.pop("directory")["path"], entry["name"], sources)
        entry["archive"] = {"path": _travels(path, files), "hashes": {"sha256": _sha256(path)}}
    for source in [entry.get("archive"), entry.get("sdist"), *entry.get("wheels", ())]:
        if not source:
            continue
        local = _local_path(source, folder)
        if local is not None:
            source.pop("url", None)
            source["path"] = _travels(local, files)
            source["size"] = local.stat().st_size
        elif "url" in source:
            source["url"] = without_credentials(source["url"])[0]
    if "vcs" in entry and "url" in entry["vcs"]:
        entry["vcs"]["url"] = without_credentials(entry["vcs"]["url"])[0]


def _local_path(source: Mapping[str, Any], folder: Path) -> Path | None:
    url = urlsplit(str(source.get("url", "")))
    if "path" not in source and url.scheme != "file":
        return None
    path = folder / source["path"] if "path" in source else Path(unquote(url.path))
    if not path.is_file():
        raise EnvironmentFailed(
            f"the lock names {path}, which is not there", "make the lock again, or restore the file"
        )
    return path.resolve()


def _travels(path: Path, files: dict[str, Path]) -> str:
    name = f"wheels/{path.name}"
    files[name] = path
    return name


def built(folder: Path, name: str, sources: Sources) -> Path:
    """A wheel of the project in ``folder``; raises EnvironmentFailed."""
    from cellferry.environment.installed import Installed, Origin
    from cellferry.environment.places import cache_folder
    from cellferry.environment.wheels import wheel_of

    project = Installed(canonicalize_name(name), "0", folder, Origin("editable", folder.resolve().as_uri()))
    return wheel_of(project, cache_folder() / "wheels", sources).resolve()


def _package(entry: Mapping[str, Any]) -> LockedPackage:
    sources = [s for s in [entry.get("archive"), *entry.get("wheels", ()), entry.get("sdist")] if s]
    first = sources[0] if sources else {}
    return LockedPackage(
        canonicalize_name(entry["name"]), str(entry.get("version", "")), int(first.get("size", 0)), "path" in first
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remembered(kept: Path, python: str) -> Lock | None:
    try:
        files = {name: Path(path) for name, path in json.loads((kept / "files.json").read_text("utf-8")).items()}
        text = (kept / NAME).read_text("utf-8")
    except (OSError, ValueError):
        return None
    if not all(path.is_file() for path in files.values()):
        return None
    return Lock(text, tuple(map(_package, tomllib.loads(text)["packages"])), python, files)


def _remember(kept: Path, lock: Lock) -> None:
    part = kept.with_name(f".{kept.name}.{id(lock):x}")
    try:
        part.mkdir(parents=True, exist_ok=True)
        (part / NAME).write_text(lock.text, "utf-8")
        (part / "files.json").write_text(json.dumps({name: str(path) for name, path in lock.files.items()}), "utf-8")
        part.rename(kept)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)  # another process was first, or the disk is full: it is only a memory


def named_by(said: str, candidates: Iterable[str]) -> set[str]:
    """Those of ``candidates`` (normalised names) that uv's words say no index has, or not in the version asked for."""
    told = f" {' '.join(said.split())}"
    missing = set()
    for name in candidates:
        signs = (f" {name} was not found in", f"there is no version of {name}==", f" {name} was not found because")
        if any(sign in told for sign in signs):
            missing.add(name)
    return missing
