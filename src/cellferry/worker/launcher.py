"""How a worker starts, in order. The first remote cell waits for this, so the order is the design:

1. read ``worker.json`` (nothing is imported for it but ``json``),
2. split off the keeper (``keeper.py``),
3. start the kernel: from here on it boots on another core,
4. open the door and write ``ready.json``: clients may connect, and wait in the kernel's queue,
5. when the kernel is up, import and start the HTTP server; requests to it wait in the acceptor. A worker that is one notebook's
   own, on its machine, does that when it is asked for something: cells do not need the server, and it is most of what a worker
   takes of processor and memory.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from cellferry.worker.spawn import spawn_kernel

if TYPE_CHECKING:
    import socket
    import subprocess

    from cellferry.environment.instances import Instance
    from cellferry.worker.core import WorkerCore
    from cellferry.worker.environments import Environments

KERNEL_FIRST_S = 5.0
"""The server's import takes more processor time than the kernel's, which a first cell waits for, and the client's own
work wants the other core: what is not for the cell comes after them, unless the kernel is in trouble."""

# Only what the kernel's start needs may be imported above, and nothing else below until it runs: see the tests.


def main(folder: str) -> NoReturn:
    """Run the worker whose private folder is ``folder``; the process ends with the worker."""
    argv, instance = _kernel_argv(folder)
    for name in ("work", "modules"):
        os.makedirs(f"{folder}/{name}", mode=0o700, exist_ok=True)  # noqa: PTH103 - pathlib is not imported this early
    listens, tells = os.pipe()
    server = os.fork()
    if server:
        os.close(listens)
        from cellferry.worker.keeper import keep

        keep(server, tells, folder)
    os.close(tells)
    # Its own group: a signal to the keeper's group must leave one of the two alive to end the rest.
    os.setpgid(0, 0)
    _serve(folder, argv, instance, spawn_kernel(folder, argv), listens)


def _kernel_argv(folder: str) -> tuple[list[str], Instance | None]:
    """What to run as the kernel, and the environment that was taken for it."""
    with open(f"{folder}/worker.json", encoding="utf-8") as file:  # noqa: PTH123
        settings = json.load(file)
    if settings.get("hash_seed"):  # every kernel of this worker hashes texts as the notebook does
        os.environ["PYTHONHASHSEED"] = settings["hash_seed"]
    # -P: what happens to lie in the working directory must not replace a module of the kernel itself.
    module = settings.get("kernel_module", "cellferry.guest")
    if settings.get("kernel_python") or settings.get("environment"):
        from cellferry.worker.foreign import kernel_in

        return kernel_in(folder, settings)
    return [sys.executable, "-P", "-m", module], None


def _serve(
    folder: str, argv: list[str], instance: Instance | None, first: tuple[subprocess.Popen[bytes], socket.socket],
    keeper_line: int,
) -> NoReturn:  # fmt: skip
    core = _open_door(folder, argv, instance, first, keeper_line)
    core.kernel.wait_until_ready(KERNEL_FIRST_S)
    _ = core.sampler  # a plot wants a past: it begins now
    _leave_out_format_checkers()
    if core.settings.grace_s is None or core.settings.shared:  # others ask for it, and should not wait for an import
        core.acceptor.want_http()
    while True:
        core.acceptor.wait_for_http()
        try:
            from cellferry.worker.server import run_server

            run_server(core)
        except BaseException:
            import traceback

            traceback.print_exc()
        # The cells do not need it, nor does the lease: they go on, and whoever asks next may have more luck.
        core.acceptor.no_http()


def _leave_out_format_checkers() -> None:
    """Jupyter's event schemas need jsonschema, which takes the checkers of optional string formats in where it finds them:
    compiling their grammars takes twice the processor time of all the rest of the server's import. The only such format that
    a worker meets is the address of Jupyter's own schemas; jsonschema goes without what cannot be imported."""
    for module in ("rfc3987_syntax", "isoduration"):
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # as the import system's documentation has it


def _open_door(
    folder: str, argv: list[str], instance: Instance | None, first: tuple[subprocess.Popen[bytes], socket.socket],
    keeper_line: int,
) -> WorkerCore:  # fmt: skip
    """Everything but the HTTP server, running."""
    import signal
    from functools import cache
    from pathlib import Path

    from cellferry.worker.acceptor import Acceptor
    from cellferry.worker.core import WorkerCore
    from cellferry.worker.decisions import Decisions
    from cellferry.worker.desk import Desk
    from cellferry.worker.door import open_listener
    from cellferry.worker.kept import any_kept
    from cellferry.worker.kernel import Kernel
    from cellferry.worker.lease import LeaseWatch
    from cellferry.worker.limits import Limits
    from cellferry.worker.processes import adopt_orphans, reap_orphans
    from cellferry.worker.proving import secret_in
    from cellferry.worker.settings import mark_phase, read_settings, write_atomically

    mark_phase(folder, "python")
    adopt_orphans()
    home = Path(folder)
    settings = read_settings(home)

    @cache
    def environments() -> Environments:
        from cellferry.worker.environments import Environments

        return Environments(home, instance, argv, kernel.tell)

    listener, ready = open_listener(home, settings)
    kernel = Kernel(
        home,
        argv,
        first,
        on_state=lambda links, busy, limit_s: lease.update(links, busy, limit_s),
        on_end=lambda: core.note_kernel_end(),
        on_ready=lambda: mark_phase(folder, "kernel"),
    )
    decisions = Decisions(home)
    limits = Limits(home, kernel, settings.microusd_per_hour, settings.name)

    def on_tick() -> None:
        reap_orphans(kernel.process_id)
        lease.keep(any_kept(home / "runs"))
        limits.tick(lease)

    lease = LeaseWatch(
        home,
        settings.lease,
        lambda reason: core.end(reason),
        keeper_line=keeper_line,
        on_tick=on_tick,
        interrupt=limits.interrupt,
        terminate=limits.terminate,
        kill=limits.kill,
        note=decisions.note,
    )
    pinned = settings.client_cert_pem if settings.transport == "tls" else None
    acceptor = Acceptor(
        listener, tls=settings.transport == "tls", to_kernel=kernel.hand_over,
        to_packages=Desk(home, pinned, environments).take, secret=secret_in(home),
    )  # fmt: skip
    core = WorkerCore(home, settings, kernel, lease, acceptor, limits, decisions)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, lambda _signum, _frame: lease.ask_end("signal"))
    for part in (lease, kernel, acceptor):
        part.start()
    write_atomically(home / "ready.json", ready)
    mark_phase(folder, "listening")
    return core
