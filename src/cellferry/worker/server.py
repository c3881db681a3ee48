"""Jupyter Server without a door of its own: it serves the connections that the acceptor hands over.

Nothing is read from the user's Jupyter configuration (a password, a port, other extensions would come with it), nothing
is written outside the worker's folder, and no other extension is loaded but Jupyter's terminals.
"""

from __future__ import annotations

import os
import socket
import ssl
from importlib.util import find_spec
from typing import Any

from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from traitlets.config import Config

from cellferry.parcels import tls
from cellferry.worker.core import WorkerCore
from cellferry.worker.identity import ConnectionIdentity
from cellferry.worker.provisioner import KERNEL_NAME, GuestSpecs
from cellferry.worker.settings import mark_phase

TERMINALS = "jupyter_server_terminals"
"""Jupyter's own terminals, where they are installed: the sidebar opens them."""


def run_server(core: WorkerCore) -> None:
    """Serve until the process ends. Called in the main thread; again only after it has raised."""
    os.environ["JUPYTER_RUNTIME_DIR"] = str(core.folder)
    WorkerServer.clear_instance()
    app = WorkerServer.instance(
        config=_config(core), core=core, runtime_dir=str(core.folder), no_browser_open_file=True
    )
    app.initialize(argv=[], find_extensions=False)
    app.start()


def _config(core: WorkerCore) -> Config:
    return Config(
        ServerApp={
            "root_dir": str(core.work),
            "identity_provider_class": ConnectionIdentity,
            "kernel_spec_manager_class": GuestSpecs,
            "jpserver_extensions": {"cellferry": True, TERMINALS: find_spec(TERMINALS) is not None},
            # Only our own user or the holder of the pinned key gets here, and a worker of root's is root's alone.
            "allow_root": True,
            "allow_remote_access": True,
            # A forged request needs a browser that has a session here. No browser can reach this server at all:
            # it has no port, and behind TLS it asks for a client key that no browser holds.
            "disable_check_xsrf": True,
            "cookie_secret": os.urandom(32),
            "open_browser": False,
            "log_level": "WARN",
        },
        IdentityProvider={"token": ""},
        # kernel.py starts the next kernel; Jupyter's own restarter would do it a second time.
        KernelManager={"autorestart": False},
        MappingKernelManager={"default_kernel_name": KERNEL_NAME},
    )


class WorkerServer(ServerApp):
    """The Jupyter Server of one worker."""

    core: WorkerCore

    def __init__(self, *, core: WorkerCore, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.core = core

    @property
    def connection_url(self) -> str:
        """There is no address. Terminals are told this one, and must not think that another server is theirs."""
        return ""

    def _runtime_dir_changed(self, *_: Any) -> None:
        """Jupyter makes this folder where it is missing. It is the worker's own: one that was deleted must not come back."""

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        """The user's Jupyter configuration is for the user's own servers."""

    def migrate_config(self) -> None:
        """Nothing of the user's is touched."""

    def init_signal(self) -> None:
        """The launcher has set the signals: they end the worker through its lease."""

    def write_server_info_file(self) -> None:
        """Nobody looks for this server by its file."""

    def init_httpserver(self) -> None:
        """An HTTP server that listens nowhere."""
        self._http_server = HTTPServer(
            self.web_app, max_body_size=self.max_body_size, max_buffer_size=self.max_buffer_size
        )
        self._tls = self._tls_context()
        self.io_loop.add_callback(self._open)

    def stop(self, from_signal: bool = False) -> None:
        """``/api/shutdown`` ends the whole worker."""
        self.core.lease.ask_end("stop")

    def _tls_context(self) -> ssl.SSLContext | None:
        settings, folder = self.core.settings, self.core.folder
        if settings.transport == "unix":
            return None
        return tls.server_context(folder / "worker.crt", folder / "worker.key", settings.client_cert_pem)

    async def _open(self) -> None:
        self.core.acceptor.serve_http(lambda connection: self.io_loop.add_callback(self._take, connection))
        self.core.kernel.when_ready(lambda: self.io_loop.add_callback(self._list_kernel))
        mark_phase(str(self.core.folder), "server")

    async def _list_kernel(self) -> None:
        """Make Jupyter's own kernel manager know the kernel, so that ``/api/kernels`` shows it."""
        try:
            await self.kernel_manager.start_kernel(kernel_name=KERNEL_NAME, kernel_id=self.core.settings.worker_id)
        except Exception:  # whatever Jupyter's machinery makes of it: cells do not need this
            self.log.warning("the kernel is not in Jupyter's list", exc_info=True)

    async def _take(self, connection: socket.socket) -> None:
        """Serve one connection of the acceptor's; over TLS only after the pinned certificate was seen."""
        connection.setblocking(False)
        try:
            address: Any = connection.getpeername()
            if self._tls is None:
                self.http_server.handle_stream(IOStream(connection), address)
                return
            wrapped = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            stream = SSLIOStream(wrapped)
            await stream.wait_for_handshake()
            tls.check_pinned(wrapped.getpeercert(binary_form=True), self.core.settings.client_cert_pem)
            self.http_server.handle_stream(stream, address)
        except (OSError, StreamClosedError):  # ssl.SSLError is an OSError
            connection.close()
