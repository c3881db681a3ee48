"""Local modules of the notebook's project: written here, imported here, replaced when their files change there."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def install_modules(root: Path, files: Sequence[str], contents: Sequence[Any], namespace: Mapping[str, Any]) -> None:
    """Write source files (paths relative to ``root``) and forget the modules they replace.

    Names of the notebook that stood for such a module are bound to the new one on their next arrival.
    """
    changed = set()
    for path, data in zip(files, contents, strict=True):
        target = (root / path).resolve()
        if not target.is_relative_to(root.resolve()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        changed.add(path.replace("\\", "/").removesuffix(".py").removesuffix("/__init__").split("/")[0])
    for name in [n for n in sys.modules if n.partition(".")[0] in changed and _ours(sys.modules[n], root)]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _ours(module: types.ModuleType, root: Path) -> bool:
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), "")
    return str(file).startswith(str(root))
