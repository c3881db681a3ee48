"""The Jupyter Server extension ``cellferry``: brings the worker's routes into the server that the worker runs."""

from __future__ import annotations

from typing import Any

from jupyter_server.extension.application import ExtensionApp

from cellferry.worker.routes import ROUTES


class WorkerExtension(ExtensionApp):
    """Adds ``/cellferry/v1/...``; in any other Jupyter Server than a worker's it adds nothing."""

    name = "cellferry"

    @property
    def config_file_paths(self) -> list[str]:
        return []  # a worker is told everything by worker.json

    def initialize_handlers(self) -> None:
        core: Any = getattr(self.serverapp, "core", None)
        if core is not None:
            self.handlers.extend((path, handler, {"core": core}) for path, handler in ROUTES)
