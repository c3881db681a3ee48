"""cellferry: put ``%%remote`` on a notebook cell and it runs on a worker, with everything that it needs.

Public names and the hooks of IPython and Jupyter; nothing else, and quick to import: everything is loaded on first use.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

    checkpoint_dir: Path

__version__ = "0.1.0"
__all__ = ["__version__", "checkpoint_dir", "load_ipython_extension", "restored", "unload_ipython_extension"]


def _check_interpreter(abiflags: str) -> None:
    """Refuse a Python of whose objects cellferry could not tell which are still in use: without the global lock (``3.14t``)
    it counts references otherwise, whether the lock is switched on or not. Raises UnsupportedPython."""
    if "t" in abiflags:
        from cellferry.errors import UnsupportedPython

        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise UnsupportedPython(
            f"cellferry does not run on a free-threaded Python ({version}t, {sys.executable}): values could be lost there",
            f"use a kernel with the usual Python {version}: uv venv --python {version}+gil && uv pip install cellferry ipykernel",
        )


_check_interpreter(sys.abiflags)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext cellferry``: register ``%%remote`` and ``%remote``."""
    from cellferry.jupyter.magic import load
    from cellferry.parcels.own_watch import watch

    watch()
    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext cellferry``: end this kernel's workers and take the magics away."""
    from cellferry.jupyter.magic import unload

    unload(shell)


def restored() -> Mapping[str, Any]:
    """In a ``%%remote`` cell with ``checkpoint=`` that is run again after its worker died: what the last checkpoint holds,
    name -> value, each made when it is asked for. Empty on the first try, and in a local cell."""
    from cellferry.parcels.checkpoint import restored

    return restored()


def __getattr__(name: str) -> Any:
    """``cellferry.checkpoint_dir``: a folder (``pathlib.Path``) that is saved with each checkpoint of the running cell and is
    there again when the cell is retried; in a local cell a temporary one."""
    if name != "checkpoint_dir":
        raise AttributeError(f"module 'cellferry' has no attribute {name!r}")
    from cellferry.parcels.checkpoint import checkpoint_dir

    return checkpoint_dir()


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Jupyter Server finds the worker's extension here."""
    from cellferry.worker.extension import WorkerExtension

    return [{"module": "cellferry", "app": WorkerExtension}]
