"""A kernel reduced to its control socket, for the tests of the worker: no ipykernel, no cells.

Answers each connection line by line: ``pid``; ``run`` / ``done`` (busy or not); ``spawn`` starts a sleeping child,
``daemon`` one that has left session and parent; ``exit N``; ``env``; ``links``. Its pid and what it started are told back.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading

SLEEPER = [sys.executable, "-S", "-c", "import signal; signal.pause()"]


class Standin:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.links = 0
        self.busy = False
        self.lock = threading.Lock()

    def tell(self) -> None:
        self.control.send(json.dumps({"op": "state", "busy": self.busy, "links": self.links}).encode())

    def serve(self) -> None:
        self.control.send(b'{"op":"ready"}')
        while True:
            datagram, fds, _, _ = socket.recv_fds(self.control, 65536, 4)
            if not datagram:
                os._exit(0)
            for fd in fds:
                threading.Thread(target=self.link, args=(socket.socket(fileno=fd),), daemon=True).start()

    def link(self, connection: socket.socket) -> None:
        with self.lock:
            self.links += 1
            self.tell()
        try:
            lines = connection.makefile("rwb")
            head = lines.peek(5)[:5]
            if head[:4] == b"CFRY":
                lines.read(4)
            for line in lines:
                lines.write(f"{self.answer(line.decode().split())}\n".encode())
                lines.flush()
        except OSError:
            pass
        with self.lock:
            self.links -= 1
            self.tell()

    def answer(self, words: list[str]) -> object:
        match words:
            case ["pid"]:
                return os.getpid()
            case ["cwd"]:
                return os.getcwd()
            case ["run" | "done" as word]:
                with self.lock:
                    self.busy = word == "run"
                    self.tell()
                return "ok"
            case ["spawn"]:
                return subprocess.Popen(SLEEPER).pid
            case ["daemon"]:
                code = f"import os,subprocess;print(subprocess.Popen({SLEEPER!r},start_new_session=True,stdout=2).pid)"
                return subprocess.run([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE).stdout.decode().strip()
            case ["say", *rest]:
                print(*rest, flush=True)
                return "ok"
            case ["exit", code]:
                os._exit(int(code))
        return "?"


if __name__ == "__main__":
    fd = int(sys.argv[sys.argv.index("--control") + 1])
    os.set_inheritable(fd, False)
    Standin(socket.socket(fileno=fd)).serve()
