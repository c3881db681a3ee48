"""Whether a module is code of the project: neither part of Python, nor of an installed package."""

from __future__ import annotations

import os
import site
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType

_SITE_NAMES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def is_own(module: ModuleType) -> bool:
    """A module in a file outside of this interpreter's own places; not the notebook itself, and not cellferry."""
    name = module.__name__
    file = module.__dict__.get("__file__")
    return (
        type(file) is str and name.partition(".")[0] not in ("__main__", "__mp_main__", "cellferry") and _own_file(file)
    )


def own_module(name: object) -> bool:
    """Whether the loaded module of that name is code of the project."""
    module = sys.modules.get(name) if type(name) is str else None
    return module is not None and is_own(module)


@lru_cache(maxsize=8192)
def _own_file(file: str) -> bool:
    path = os.path.normpath(file)
    if not path.endswith((".py", ".pyc")) or any(name in path for name in _SITE_NAMES):
        return False
    return not path.startswith(_places())


@lru_cache(maxsize=1)
def _places() -> tuple[str, ...]:
    """Where Python and installed packages lie, those included that a worker's kernel has beside cellferry.

    What ``sysconfig`` would say, without its data: this is asked when the extension is loaded, which must not import anything
    that the kernel has not.
    """
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folders = {str(Path(os.__file__).parent), *site.getsitepackages(), site.getusersitepackages()}
    folders.add(str(Path(__file__).parents[2]))
    folders |= {str(Path(prefix, sys.platlibdir, python)) for prefix in (sys.exec_prefix, sys.base_exec_prefix)}
    return tuple(
        {written + os.sep for folder in folders for written in (os.path.normpath(folder), os.path.realpath(folder))}
    )
