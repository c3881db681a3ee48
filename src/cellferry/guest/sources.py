"""Local modules of the notebook's project: written here, imported here, replaced when their files change there."""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellferry.guest.reloading import reload_all
from cellferry.parcels.own_code import is_own

_taken: dict[str, tuple[int, int]] = {}
"""Source file -> time of change and size of what this kernel has executed last, whichever client sent it."""


def install_modules(
    root: Path, files: Sequence[str], contents: Sequence[Any], stamps: Sequence[Sequence[int] | None] = ()
) -> tuple[list[str], dict[str, Exception]]:
    """Write source files (paths relative to ``root``), unless they are read where they lie at home: then there are no ``contents``.
    Those of loaded modules are executed anew, and their objects follow (``reloading``).

    ``stamps``: time of change and size of each; None: it was executed anew at home, and is to be here.
    Returns these modules, and those of them that failed and are what they were.
    """
    known = [stamp is not None and _taken.get(path) == tuple(stamp) for path, stamp in zip(files, stamps, strict=False)]
    _taken.update((path, (stamp[0], stamp[1])) for path, stamp in zip(files, stamps, strict=False) if stamp is not None)
    again = {path for path, same in zip(files, known, strict=False) if same}  # a client that begins anew sends all of them
    changed = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in files
        if path.endswith(".py") and path not in again
    }
    for path, data in zip(files, contents, strict=True) if contents else ():
        target = (root / path).resolve()
        if not target.is_relative_to(root.resolve()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    importlib.invalidate_caches()
    # whoever imports comes into sys.modules before what it imports, which is to be there in its new state first
    loaded = [name for name in reversed(list(sys.modules)) if name in changed and is_own(sys.modules[name])]
    return loaded, reload_all(loaded) if loaded else {}


def load_modules(names: Sequence[str]) -> None:
    """Load submodules that are loaded at home; the cell itself says so if one that it needs is not here."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            continue


def know_texts(shell: Any, cells: Mapping[str, Any]) -> None:
    """Know the text of notebook cells: file name -> (number, text)."""
    for file, (number, text) in cells.items():
        shell.compile._filename_map[file] = number
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


def know_cells(shell: Any, meta: Mapping[str, Any]) -> None:
    """Compile the coming cell under its file name at home, and know the text of the cells that its functions are from.

    Then tracebacks say ``Cell In[n]`` with the right lines on both ends, and ``inspect.getsource`` works here.
    """
    compiler = shell.compile
    compiler.flags |= meta["flags"]
    know_texts(shell, meta["cells"])
    above, transform = meta["above"], type(shell).transform_cell

    def transformed(raw: str) -> str:
        # for the cell itself, however often it is transformed, not for what its magics transform
        return (above if raw == meta["code"] else "") + str(transform(shell, raw))

    shell.__dict__.pop("transform_cell", None)
    if above:
        shell.transform_cell = transformed
    name = meta["file"]
    compiler.__dict__.pop("get_code_name", None)
    if name:
        compiler.get_code_name = lambda _raw, _transformed, _number: name
