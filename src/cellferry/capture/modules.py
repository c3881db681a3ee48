"""Which modules a worker has anyway, and which are part of the project and travel as files.

Nothing here looks at the disk by itself: what has to be listed or read goes through the ``Disk`` that the caller
gives, so that these rules can be tested against a disk that does not exist.
"""

from __future__ import annotations

import ast
import os
import posixpath
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import all_suffixes
from types import CodeType, FunctionType, ModuleType
from typing import Literal

from cellferry.capture.globals_of import code_imports

Kind = Literal["stdlib", "installed", "local", "main"]
Walk = Callable[[str], Iterable[tuple[str, list[str], list[str]]]]
"""``os.walk``, top down: a folder, the names of its folders (which the reader prunes in place) and of its files."""

_MAIN = frozenset({"__main__", "__mp_main__"})
_SITE_NAMES = frozenset({"site-packages", "dist-packages"})
_OURSELVES = "cellferry"
_SUFFIXES = tuple(all_suffixes())


@dataclass(frozen=True)
class Places:
    """Where this interpreter keeps its own modules: folders, absolute, as they are written and with links resolved."""

    stdlib: tuple[str, ...]
    site: tuple[str, ...]


@dataclass(frozen=True)
class Disk:
    """What these rules may do with a disk. ``walk`` is ``os.walk``; ``read`` gives a file's text, or None.

    ``find`` gives, for the top-level name of a module that is not imported yet, the file of the module or the
    folder of the package, or None; ``importlib.util.find_spec`` knows.
    """

    walk: Walk
    read: Callable[[str], str | None]
    find: Callable[[str], str | None]


@dataclass(frozen=True)
class LocalSource:
    """One top-level module or package of the project. ``files`` are relative to ``root``, with ``/``, sorted.

    ``root`` is the folder that has to be on ``sys.path`` for ``import name`` to find it. A namespace package that is
    spread over several folders gives several of these. A compiled module (``.so``) has no files: it cannot travel
    as source.
    """

    name: str
    root: str
    files: tuple[str, ...]


def places_here() -> Places:
    """The places of the running interpreter, virtual environments and the one they were made from included.

    The one function here that looks at the disk, at links only; call it once.
    """
    paths = sysconfig.get_paths()
    stdlib = {paths["stdlib"], paths["platstdlib"], posixpath.join(paths["platstdlib"], "lib-dynload")}
    sites = {paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()}
    return Places(_both(stdlib), _both(sites))


def _both(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        sorted({written for folder in folders for written in (os.path.normpath(folder), os.path.realpath(folder))})
    )


def classify_module(module: ModuleType, places: Places) -> Kind:
    """Where ``module`` comes from.

    "local": a file or folder outside of the interpreter's own places, editable installs included; it travels.
    "main": the notebook itself, or a module made by hand without a file. "installed" also for modules inside
    archives, and for cellferry, which every worker has.
    """
    name = module.__name__
    if name in _MAIN:
        return "main"
    if name.partition(".")[0] == _OURSELVES:
        return "installed"
    spec = module.__dict__.get("__spec__")
    if getattr(spec, "origin", None) in ("built-in", "frozen"):
        return "stdlib"
    kinds = {_classify_path(path, places) for path in module_paths(module)}
    if not kinds:
        # Made by hand: part of a library that does so (`six.moves`), or of the notebook.
        parent = sys.modules.get(name.partition(".")[0]) if "." in name else None
        return classify_module(parent, places) if parent is not None else "main"
    return "local" if "local" in kinds else "installed" if "installed" in kinds else "stdlib"


def module_paths(module: ModuleType) -> list[str]:
    """The file of a module, or the folders of a namespace package; empty for one that has neither."""
    file = module.__dict__.get("__file__")
    if isinstance(file, str):
        return [file]
    try:
        return [path for path in module.__dict__.get("__path__", ()) if isinstance(path, str)]
    except Exception:
        # Some libraries put an object there that only looks like a list.
        return []


def _classify_path(path: str, places: Places) -> Kind:
    path = os.path.normpath(path)
    parts = path.replace(os.sep, "/").split("/")
    if any(part.endswith((".zip", ".egg", ".pyz")) for part in parts[:-1]):
        return "installed"
    # Site folders lie inside the standard library's, so they are asked first.
    if any(_within(path, folder) for folder in places.site) or not _SITE_NAMES.isdisjoint(parts):
        return "installed"
    return "stdlib" if any(_within(path, folder) for folder in places.stdlib) else "local"


def _within(path: str, folder: str) -> bool:
    return path.startswith(folder) and path[len(folder) : len(folder) + 1] in ("", os.sep)


def local_sources(
    names: Iterable[str], modules: Mapping[str, ModuleType], places: Places, disk: Disk
) -> tuple[LocalSource, ...]:
    """The local modules and packages among ``names``, and all those that they pull in, sorted by name.

    ``names`` are modules as ``Flow.imports`` and ``code_imports`` give them; ``modules`` is ``sys.modules``. What a
    module pulls in is read in its source (cached by text), and for a loaded one also seen in its namespace, where
    modules show that were imported by computed names. A package travels whole.
    """
    found: dict[str, tuple[LocalSource, ...]] = {}
    pending = [name.partition(".")[0] for name in names]
    known: set[str] = set()
    while pending:
        top = pending.pop()
        if top in known or not top:
            continue
        known.add(top)
        loaded = modules.get(top)
        sources = _loaded(top, loaded, places, disk) if loaded is not None else _unloaded(top, places, disk)
        if sources:
            found[top] = sources
            pending.extend(_named_in(sources, disk) | (_pulled_in(top, modules) if loaded is not None else set()))
    return tuple(source for top in sorted(found) for source in found[top])


def _loaded(top: str, module: ModuleType, places: Places, disk: Disk) -> tuple[LocalSource, ...]:
    if classify_module(module, places) != "local":
        return ()
    paths = [path for path in module_paths(module) if _classify_path(path, places) == "local"]
    return tuple(_source(top, path, disk) for path in paths)


def _unloaded(top: str, places: Places, disk: Disk) -> tuple[LocalSource, ...]:
    if top == _OURSELVES or top in sys.stdlib_module_names:
        return ()
    path = disk.find(top)
    return (_source(top, path, disk),) if path is not None and _classify_path(path, places) == "local" else ()


def _source(top: str, path: str, disk: Disk) -> LocalSource:
    """``path``: a module's file, a package's ``__init__``, or the folder of a namespace package."""
    path = os.path.normpath(path)
    folder, file = os.path.split(path)
    if file.partition(".")[0] == "__init__":
        path, (folder, file) = folder, os.path.split(folder)
    elif file.endswith(_SUFFIXES):
        return LocalSource(top, folder, (file.removesuffix("c"),) if file.endswith((".py", ".pyc")) else ())
    return LocalSource(top, folder, tuple(sorted(_package_files(path, file, disk.walk))))


def _package_files(folder: str, package: str, walk: Walk) -> Iterator[str]:
    for at, folders, files in walk(folder):
        # Only what can be imported: no caches, no hidden folders, no environments that happen to lie inside.
        folders[:] = sorted(
            name for name in folders if name.isidentifier() and name != "__pycache__" and name != "node_modules"
        )
        within = os.path.relpath(at, folder).replace(os.sep, "/")
        base = package if within == "." else posixpath.join(package, within)
        yield from (posixpath.join(base, name) for name in files if _may_travel(name))


def _may_travel(file: str) -> bool:
    """Sources, and the data that a package keeps beside them; nothing hidden, compiled or secret."""
    return not file.startswith((".", "id_")) and not file.endswith(
        (".pyc", ".so", ".pyd", ".dll", ".pem", ".key", ".orig", "~")
    )


def _pulled_in(top: str, modules: Mapping[str, ModuleType]) -> set[str]:
    """Top-level names of the modules that the loaded package ``top`` refers to."""
    found: set[str] = set()
    for name, module in list(modules.items()):
        if name.partition(".")[0] == top and module is not None:
            for value in list(vars(module).values()):
                found.update(_origins(value, top))
    return found


def _origins(value: object, top: str) -> Iterator[str]:
    if isinstance(value, ModuleType):
        yield value.__name__.partition(".")[0]
        return
    # Not getattr on instances: a lazy library may import half the world when asked for an attribute.
    owner = value if isinstance(value, (type, FunctionType)) else type(value)
    module = owner.__dict__.get("__module__") if isinstance(owner, type) else owner.__module__
    if isinstance(module, str):
        yield module.partition(".")[0]
        if module.partition(".")[0] == top:
            yield from (name.partition(".")[0] for code in _codes(owner) for name in code_imports(code))


def _codes(owner: type | FunctionType) -> Iterator[CodeType]:
    for value in (owner,) if isinstance(owner, FunctionType) else list(vars(owner).values()):
        inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        if isinstance(inner, FunctionType):
            yield inner.__code__


def _named_in(sources: Iterable[LocalSource], disk: Disk) -> set[str]:
    """Top-level names of the modules that the files of a package import."""
    found: set[str] = set()
    for source in sources:
        for file in source.files:
            if file.endswith(".py"):
                found.update(imports_in(disk.read(posixpath.join(source.root, file)) or ""))
    return found


@lru_cache(maxsize=512)
def imports_in(source: str) -> frozenset[str]:
    """Top-level names of the modules that a file imports anywhere; none for one that does not parse."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return frozenset(name.partition(".")[0] for name in names)
