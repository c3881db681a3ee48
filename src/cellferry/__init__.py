"""cellferry: put ``%%remote`` on a notebook cell and it runs on a worker, with everything that it needs.

Public names and the hooks of IPython and Jupyter; nothing else, and quick to import: everything is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"
__all__ = ["__version__", "load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext cellferry``: register ``%%remote`` and ``%remote``."""
    from cellferry.jupyter.magic import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext cellferry``: end this kernel's workers and take the magics away."""
    from cellferry.jupyter.magic import unload

    unload(shell)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Jupyter Server finds the worker's extension here."""
    from cellferry.worker.extension import WorkerExtension

    return [{"module": "cellferry", "app": WorkerExtension}]
