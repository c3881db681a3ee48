"""A kernel reduced to its control socket, for the tests of the worker: no ipykernel, no cells.

Answers each connection line by line: ``pid``; ``cwd``; ``run [LIMIT_S]`` / ``done`` (busy or not); ``spawn`` starts a sleeping
child, ``daemon`` one that has left its session and its parent, and both tell its pid; ``say TEXT``; ``eat MIB``;
``exit N``. With ``CELLFERRY_STANDIN_EXIT=N`` it ends before it is ready; with ``CELLFERRY_STANDIN_STUBBORN`` it ignores SIGTERM.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

SLEEPER = [sys.executable, "-S", "-c", "import signal; signal.pause()"]


class Standin:
    def __init__(self, folder: Path, control: socket.socket) -> None:
        self.folder, self.control = folder, control
        self.settings = json.loads((folder / "worker.json").read_text())
        self.links = 0
        self.busy = False
        self.limit_s: float | None = None
        self.memory: list[bytearray] = []
        self.lock = threading.Lock()

    def tell(self) -> None:
        self.control.send(json.dumps({"op": "state", "busy": self.busy, "links": self.links, "limit_s": self.limit_s}).encode())

    def serve(self) -> None:
        self.control.send(b'{"op":"ready"}')
        while True:
            datagram, fds, _, _ = socket.recv_fds(self.control, 65536, 4)
            if not datagram:
                os._exit(0)
            for fd in fds:
                self.control.send(b'{"op":"taken"}')
                threading.Thread(target=self.link, args=(socket.socket(fileno=fd),), daemon=True).start()

    def link(self, connection: socket.socket) -> None:
        try:
            connection = self.shake(connection)
        except OSError:
            connection.close()
            return
        with self.lock:
            self.links += 1
            self.tell()
        try:
            lines = connection.makefile("rwb")
            for line in lines:
                lines.write(f"{self.answer(line.decode().split())}\n".encode())
                lines.flush()
        except OSError:
            pass
        with self.lock:
            self.links -= 1
            self.tell()

    def shake(self, connection: socket.socket) -> socket.socket:
        if self.settings["transport"] == "unix":
            assert connection.recv(4, socket.MSG_WAITALL) == b"CFRY"
            return connection
        from cellferry.parcels import tls

        pinned = self.settings["client_cert_pem"]
        context = tls.server_context(self.folder / "worker.crt", self.folder / "worker.key", pinned)
        wrapped = context.wrap_socket(connection, server_side=True)
        tls.check_pinned(wrapped.getpeercert(binary_form=True), pinned)
        return wrapped

    def answer(self, words: list[str]) -> object:
        match words:
            case ["pid"]:
                return os.getpid()
            case ["cwd"]:
                return str(Path.cwd())
            case ["run" | "done" as word, *limit]:
                with self.lock:
                    self.busy, self.limit_s = word == "run", float(limit[0]) if limit else None
                    self.tell()
                return "ok"
            case ["spawn"]:
                return subprocess.Popen(SLEEPER).pid
            case ["daemon"]:
                code = f"import os,subprocess;print(subprocess.Popen({SLEEPER!r},start_new_session=True,stdout=2).pid)"
                return subprocess.check_output([sys.executable, "-S", "-c", code], text=True).strip()
            case ["say", *rest]:
                print(*rest, flush=True)
                return "ok"
            case ["eat", mib]:
                self.memory += [bytearray(os.urandom(1) * (1 << 20)) for _ in range(int(mib))]
                return "ok"
            case ["exit", code]:
                os._exit(int(code))
        return "?"


def main() -> None:
    if code := os.environ.get("CELLFERRY_STANDIN_EXIT"):
        print("the stand-in was told to end")
        sys.exit(int(code))
    signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
    if "CELLFERRY_STANDIN_STUBBORN" in os.environ:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG, as the real kernel does
    fd = int(sys.argv[sys.argv.index("--control") + 1])
    os.set_inheritable(fd, False)
    Standin(Path(sys.argv[1]), socket.socket(fileno=fd)).serve()


if __name__ == "__main__":
    main()
