"""From what a cell uses, or from what ``env=`` names, to a lock for its worker."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cellferry.environment.found import OURSELVES, not_on_an_index, requirements
from cellferry.environment.installed import Inventory
from cellferry.environment.lock import NAME, Described, Target, Unsolved, compile_lock, named_by, read_lock, resolve
from cellferry.environment.machine import TORCH
from cellferry.environment.places import cache_folder
from cellferry.environment.sources import Sources
from cellferry.environment.uv import run_uv
from cellferry.environment.wheels import fits, forget_old, wheel_of
from cellferry.errors import BadValue, EnvironmentFailed

_MOST_TRIES = 20
_CONDA_ONLY = frozenset({"python", "pip", "setuptools", "wheel", "conda", "nodejs"})


def lock_found(
    names: Iterable[str], inventory: Inventory, target: Target, sources: Sources, more: Iterable[str] = ()
) -> Described:
    """The lock for distributions that are installed here, with all that they need, at the versions that are here.

    ``more``: requirements beside these, of what is not installed here.

    What no index has is made to a wheel here, but for torch where ``target`` names another build of it. A package of
    conda that PyPI does not have is left out and named. Raises EnvironmentFailed.
    """
    asked = {name for name in names if name in inventory.dists}
    sent = {dist.name for dist in not_on_an_index(inventory.dists[n] for n in inventory.closure(asked))}
    foreign = TORCH if target.torch_backend else frozenset[str]()
    sent -= {name for name in sent & foreign if inventory.dists[name].origin.kind == "archive"}
    left_out: set[str] = set()
    for _try in range(_MOST_TRIES):
        files = {
            f"wheels/{wheel.name}": (name, wheel)
            for name, wheel in _wheels(sent - left_out, inventory, target, sources)
        }
        paths = {name: f"./{path}" for path, (name, _wheel) in files.items()}
        found, held = requirements((asked | sent) - left_out, inventory, paths)
        try:
            lock = resolve(
                [*found, *more], [line for line in held if line.partition("==")[0] not in left_out],
                {path: wheel for path, (_name, wheel) in files.items()}, target, sources, cache_folder() / "locks",
            )  # fmt: skip
        except Unsolved as unsolved:
            missing = named_by(unsolved.said, inventory.closure(asked) - sent - left_out)
            if not missing or missing & foreign:  # the build that is installed here is of no use there
                raise
            conda = {name for name in missing if inventory.dists[name].origin.kind == "conda"}
            left_out |= conda
            sent |= missing - conda
        else:
            forget_old(cache_folder() / "wheels")
            return Described(lock, tuple(_left_out(left_out)))
    raise EnvironmentFailed("too many packages here are on no index", "choose them yourself: env=requirements.txt")


def _left_out(names: Iterable[str]) -> Iterable[str]:
    for name in sorted(names):
        yield f"{name} was installed by conda and PyPI does not have it: it is not on the worker"


def _wheels(names: Iterable[str], inventory: Inventory, target: Target, sources: Sources) -> Iterable[tuple[str, Path]]:
    for name in sorted(names):
        wheel = wheel_of(inventory.dists[name], cache_folder() / "wheels", sources)
        if target.platform and not fits(wheel.name, ()):
            raise EnvironmentFailed(
                f"{name} {inventory.dists[name].version} has no build for the worker ({target.platform}): it was built "
                f"for this machine only, as {wheel.name}",
                "put a build for that platform on an index, or leave it out of the cell",
            )
        yield name, wheel


def lock_all(inventory: Inventory, target: Target, sources: Sources) -> Described:
    """``env=full``: everything that is installed here."""
    return lock_found([name for name in inventory.dists if name != OURSELVES], inventory, target, sources)


def lock_file(path: Path, target: Target, sources: Sources) -> Described:
    """``env=PATH``: requirements.txt, ``pylock.toml``, ``uv.lock``, ``environment.yml``.

    Raises BadValue for a file that is not there or of no known kind, EnvironmentFailed.
    """
    if not path.is_file():
        raise BadValue(
            f"env={path}: there is no such file here", "for example: env=requirements.txt, env=full, env=auto"
        )
    folder, name = path.parent.resolve(), path.name
    if name == NAME or (name.startswith("pylock.") and path.suffix == ".toml"):
        return Described(read_lock(path.read_text("utf-8"), folder, target.python, sources))
    if name == "uv.lock":
        return Described(read_lock(_exported(folder, sources), folder, target.python, sources))
    if path.suffix in (".yml", ".yaml"):
        return _conda_file(path, target, sources)
    if path.suffix in (".txt", ".in"):
        return Described(read_lock(compile_lock([name], folder, target, sources), folder, target.python, sources))
    raise BadValue(
        f"env={path}: not a kind of file that describes an environment",
        "requirements.txt, pylock.toml, uv.lock, environment.yml, or python:/path/to/python",
    )


def asks_for_torch(path: Path) -> bool:
    """Whether a file that is still to be resolved names torch, or something of its family; a lock has its choice made."""
    if path.suffix not in (".txt", ".in", ".yml", ".yaml"):
        return False
    try:
        words = re.findall(r"[\w-]+", path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return False
    return not TORCH.isdisjoint(words)


def _exported(folder: Path, sources: Sources) -> str:
    outcome = run_uv(
        ["export", "--quiet", "--frozen", "--no-header", "--format", NAME, "--project", str(folder)],
        cwd=folder,
        credentials=sources.credentials,
    )
    if not outcome.ok:
        raise EnvironmentFailed(
            f"uv.lock cannot be read:\n{outcome.err.strip()}", "try it: uv export --format pylock.toml"
        )
    return outcome.out


def _conda_file(path: Path, target: Target, sources: Sources) -> Described:
    """The packages of an ``environment.yml`` that PyPI has; the others are left out and named."""
    from packaging.requirements import Requirement

    lines, names = conda_requirements(path.read_text("utf-8"))
    left_out: set[str] = set()
    for _try in range(_MOST_TRIES):
        kept = [line for line in lines if Requirement(line).name not in left_out]
        with tempfile.TemporaryDirectory(prefix="cellferry-lock-") as place:
            (Path(place) / "requirements.in").write_text("\n".join(kept) + "\n", "utf-8")
            try:
                text = compile_lock(["requirements.in"], Path(place), target, sources)
            except Unsolved as unsolved:
                missing = named_by(unsolved.said, names - left_out)
                if not missing:
                    raise
                left_out |= missing
            else:
                return Described(
                    read_lock(text, path.parent.resolve(), target.python, sources), tuple(_left_out(left_out))
                )
    raise EnvironmentFailed(f"most of {path.name} is not on PyPI", "choose them yourself: env=requirements.txt")


def conda_requirements(text: str) -> tuple[list[str], set[str]]:
    """(requirements, names that come from conda) of an ``environment.yml``. Raises EnvironmentFailed for another text.

    ``numpy=1.26`` of conda means ``1.26.*``; builds and channels have no meaning on PyPI.
    """
    import yaml  # with packaging, a tenth of a second that most cells need not wait for
    from packaging.requirements import Requirement

    try:
        entries = list(yaml.safe_load(text)["dependencies"])
    except (yaml.YAMLError, KeyError, TypeError) as exc:
        raise EnvironmentFailed(f"this is no environment.yml: {exc}", "it has a list `dependencies:`") from exc
    lines: list[str] = []
    names: set[str] = set()
    for entry in entries:
        if isinstance(entry, dict):
            lines += [str(line) for line in entry.get("pip") or ()]
            continue
        line = _conda_line(str(entry))
        if line is not None:
            lines.append(line)
            names.add(Requirement(line).name)
    return lines, names


def _conda_line(text: str) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    spec = text.rpartition("::")[2].strip()
    name = spec.split("=")[0].split("<")[0].split(">")[0].split("!")[0].split("~")[0].strip()
    if not name or name in _CONDA_ONLY:
        return None
    rest = spec[len(name) :].strip()
    if rest.startswith("=") and not rest.startswith("=="):
        rest = f"=={rest[1:].split('=')[0]}.*"
    elif rest.startswith("=="):
        rest = f"=={rest[2:].split('=')[0]}"
    try:
        return str(Requirement(name + rest))
    except InvalidRequirement as exc:
        raise EnvironmentFailed(
            f"{text!r} of environment.yml cannot be understood", "write it as name=version"
        ) from exc


def relative(path: str) -> Path:
    """A path as the user wrote it, from the notebook's folder."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - of a word, which may be relative
