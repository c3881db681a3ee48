"""Local modules of the notebook's project: written here, imported here, replaced when their files change there."""

from __future__ import annotations

import importlib
import linecache
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def install_modules(root: Path, files: Sequence[str], contents: Sequence[Any], others: Sequence[str]) -> None:
    """Write source files (paths relative to ``root``) and forget the modules they replace: those from ``root``, and those
    from ``others``, the folders at home, where this kernel may see these. Without ``contents`` nothing is written.

    Names of the notebook that stood for such a module are bound to the new one on their next arrival.
    """
    changed = {_top_level(path) for path in files}
    for path, data in zip(files, contents, strict=True) if contents else ():
        target = (root / path).resolve()
        if not target.is_relative_to(root.resolve()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    places = [str(root), *others]
    for name in [n for n in sys.modules if n.partition(".")[0] in changed and _ours(sys.modules[n], places)]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _top_level(path: str) -> str:
    return path.replace("\\", "/").removesuffix(".py").removesuffix("/__init__").split("/")[0]


def _ours(module: types.ModuleType, places: Sequence[str]) -> bool:
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), "")
    return any(str(file).startswith(place) for place in places)


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
