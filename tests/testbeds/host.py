"""One host: a machine made of namespaces, made by ``testbeds.hosts.Network``."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbeds import host_init, namespaces
from testbeds.needs import command

if TYPE_CHECKING:
    from testbeds.hosts import Network

PATIENCE_S = 30.0
"""How long a step may take that usually takes milliseconds."""
_POWER = """#!/bin/sh
# Power commands of a test's host: its process 1 reads a pipe.
name=${0##*/} what=poweroff after=60
case $name in poweroff|halt) after=0 ;; reboot) what=reboot after=0 ;; systemctl) after=0 what= ;; esac
for word in "$@"; do
    case $word in
        now) after=0 ;;
        +[0-9]*) after=$((${word#+} * 60)) ;;
        -r|--reboot|reboot) what=reboot ;;
        poweroff|halt) what=poweroff ;;
        -c) kill -- "-$(cat /run/shutdown.pid)" && rm /run/shutdown.pid; exit ;;
    esac
done
[ -n "$what" ] || { echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2; exit 1; }
[ -w /run/initctl ] || { echo "$name: must be root" >&2; exit 1; }
[ "$after" != 0 ] || { echo $what >/run/initctl; exit; }
setsid sh -c "sleep $after; echo $what >/run/initctl" </dev/null >/dev/null 2>&1 &
echo $! >/run/shutdown.pid
"""
lasting: list[str] = []
"""What hosts that are off have left behind, in words; see ``testbeds.hosts.leftovers``."""


@dataclass(frozen=True)
class Process:
    """A process of a host: its id there, its id here, its user and its command."""

    pid: int
    outer_pid: int
    uid: int
    argv: tuple[str, ...]


class Host:
    """One machine of a network; made by ``Network.host``."""

    def __init__(self, network: Network, name: str, link: str, ip: str) -> None:
        self.network, self.name, self.link, self.ip = network, name, link, ip
        self.folder = network.folder / f"{name}.{link}"
        self.console = self.folder / "console"
        self.pid = 0
        self._init: subprocess.Popen[str] | None = None
        self._members: namespaces.Membership | None = None
        self._pidfd: int | None = None
        self._off = False
        self._lock = threading.RLock()

    def _boot(self, *, root: str, hide: Sequence[str], addresses: Sequence[str], size_bytes: int | None) -> None:
        (self.folder / "root").mkdir(parents=True)
        kinds = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        python = getattr(sys, "_base_executable", sys.executable)
        with (self.folder / "init.log").open("w") as log:
            self._init = subprocess.Popen(
                [command("unshare"), *kinds, "--", python, "-I", "-S", host_init.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=namespaces.environment(),
                start_new_session=True,
                cwd="/",
            )
        self.pid = int(self._hear())
        self._pidfd = os.pidfd_open(self.pid)
        self._members = namespaces.Membership(self.pid)
        settings = {
            "name": self.name,
            "folder": str(self.folder / "root"),
            "console": str(self.console),
            "root": root,
            "hide": sorted(hide),
            "size_bytes": size_bytes,
            "files": self._own_files(),
        }
        assert self._init.stdin is not None
        self._init.stdin.write(json.dumps(settings) + "\n")
        self._init.stdin.flush()
        self._plug_in(addresses)
        if self._hear() != "ready":
            raise self._failure()
        for other in list(self.network.hosts):
            if other is not self and other.running and other.pid:
                other.write("/etc/hosts", self.network.neighbours())

    def _own_files(self) -> dict[str, tuple[str, int]]:
        power = {f"/usr/sbin/{name}": (_POWER, 0o755) for name in ("shutdown", "poweroff", "halt", "reboot")}
        return {
            "/etc/hostname": (f"{self.name}\n", 0o644),
            "/etc/hosts": (self.network.neighbours(), 0o644),
            "/etc/resolv.conf": ("# no name server: nothing here reaches the internet\n", 0o644),
            "/etc/machine-id": (f"{self.pid:032x}\n", 0o444),
            "/usr/bin/systemctl": (_POWER, 0o755),
        } | power

    def _plug_in(self, addresses: Sequence[str]) -> None:
        network = self.network
        network.on_switch(
            f"link add {self.link} type veth peer name eth0 netns {self.pid}\nlink set {self.link} master br0 up\n"
        )
        more = "".join(f"addr add {address} dev eth0\n" for address in (f"{self.ip}/16", *addresses))
        argv = [*namespaces.in_network_of(self.pid), command("ip"), "-batch", "-"]
        namespaces.run(argv, f"link set lo up\n{more}link set eth0 up\n")

    def _hear(self) -> str:
        assert self._init is not None and self._init.stdout is not None
        line = self._init.stdout.readline().strip()
        if not line:
            raise self._failure()
        return line

    def _failure(self) -> RuntimeError:
        return RuntimeError(f"host {self.name} does not boot: {(self.folder / 'init.log').read_text().strip()}")

    # -- using it -----------------------------------------------------------------------------------------------------

    def command(self, argv: Sequence[str], user: str = "root") -> list[str]:
        """The command of this machine that runs ``argv`` in the host."""
        bounds = ",".join(f"-{name}" for name in host_init.DROPPED)
        who = [] if user == "root" else [f"--reuid={user}", f"--regid={user}", "--init-groups"]
        enter = [command("nsenter"), "-t", str(self.pid), "-m", "-n", "-p", "-u", "-i", "--"]
        return [*enter, "setpriv", f"--bounding-set={bounds}", *who, "--", *argv]

    def popen(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start a process in the host, with a new environment that has ``env`` in it. The options are Popen's."""
        home = {} if user == "root" else {"HOME": f"/home/{user}", "USER": user, "LOGNAME": user}
        if cwd:
            argv = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', cwd, *argv]
        options = {"stdin": subprocess.DEVNULL} | options
        return subprocess.Popen(self.command(argv, user), env=namespaces.environment(**home, **env or {}), **options)

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,
        timeout: float = 60.0,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host to its end; output and error are text. The options are those of ``popen``.

        With ``check``, a command that fails is a RuntimeError with what it said.
        """
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with self.popen(argv, text=True, **pipes, **options) as process:
            try:
                out, err = process.communicate(input or "", timeout)
            except BaseException:
                process.kill()
                raise
        if check and process.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(argv)} ended with {process.returncode}: {out}{err}")
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def write(self, path: str, content: str | bytes, mode: int = 0o644, owner: str = "root") -> None:
        """Write a file in the host, with the folders above it."""
        script = 'mkdir -p "${1%/*}" && touch "$1" && chmod "$2" "$1" && cat >"$1" && chown "$3:" "$1"'
        argv = ["sh", "-c", script, "sh", path, f"{mode:o}", owner]
        with self.popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            said = process.communicate(content.encode() if isinstance(content, str) else content, PATIENCE_S)[1]
        if process.returncode:
            raise RuntimeError(f"{self.name}: {path} can't be written: {said.decode()}")

    def read(self, path: str) -> str:
        return self.run(["cat", path]).stdout

    def path(self, path: str) -> Path:
        """A file of the host as this machine sees it, to be looked at: absolute symbolic links lead astray."""
        return Path(f"/proc/{self.pid}/root{path}")

    def open_network(self) -> int:
        """A descriptor of the host's network namespace, for ``namespaces.listen``; it is the host's and ends with it."""
        assert self._members is not None
        return self._members.fd("net")

    def add_user(self, name: str, uid: int) -> None:
        """A user with a home of their own, and no password."""
        self.run(["useradd", "--uid", str(uid), "--user-group", "--create-home", "--shell", "/bin/bash", name])
        self.run(["usermod", "--password", "*", name])

    def processes(self) -> list[Process]:
        """What runs there, process 1 and dead ones not counted."""
        if self._members is None or not self.running:
            return []
        found = (_describe(pid) for pid in self._members.pids("pid") if pid != self.pid)
        return [process for process in found if process is not None]

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def partition(self, cut: bool = True) -> None:
        """Cut the wire silently, or mend it: no packet passes in either direction."""
        self.network.set_fault(self.link, ["drop"] if cut else [])

    def drop(self, percent: int) -> None:
        """Lose so many of the packets that pass, in each direction; 0 mends the wire."""
        some = [f"numgen random mod 100 < {percent} drop"] if percent else []
        self.network.set_fault(self.link, ["drop"] if percent >= 100 else some)

    @property
    def running(self) -> bool:
        return self._init is not None and self._init.poll() is None

    def wait(self, timeout: float | None = None) -> str:
        """Until the host has ended: ``poweroff`` or ``reboot`` by itself, or ``killed``. May raise TimeoutExpired."""
        assert self._init is not None
        with self._lock:
            watched = None if self._pidfd is None else os.dup(self._pidfd)
        if watched is not None:
            # not Popen's own wait, which would hold up others that wait
            poll = select.poll()
            poll.register(watched, select.POLLIN)
            ended = poll.poll(None if timeout is None else timeout * 1000)
            os.close(watched)
            if not ended:
                raise subprocess.TimeoutExpired(self._init.args, timeout or 0)
        code = self._init.wait(PATIENCE_S)
        ways = {host_init.POWERED_OFF: "poweroff", host_init.REBOOTED: "reboot"}
        # the kernel ends process 1 of a namespace so when reboot(2) is called in it
        return (ways | {-signal.SIGINT: "poweroff", -signal.SIGHUP: "reboot"}).get(code, "killed")

    def kill(self) -> None:
        """Pull the plug, and don't wait."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def power_off(self) -> None:
        """Pull the plug: when this returns, every process of the host is dead. May be repeated."""
        with self._lock:
            if self._off or self._init is None:
                return
            self._off = True
            self.kill()
            for pipe in (self._init.stdin, self._init.stdout):
                if pipe is not None:
                    pipe.close()
            # a process 1 that has not come up yet ends with its standard input
            self._init.wait(PATIENCE_S)
            if self._members is not None:
                alive = [found for pid in self._members.pids() if (found := _describe(pid))]
                lasting.extend(f"process of host {self.name}: {process}" for process in alive)
                self._forget_connections(self._members.fd("net"))
                self._members.close()
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None

    def _forget_connections(self, net: int) -> None:
        """The kernel goes on for minutes to say goodbye to peers behind a cut wire, and keeps the namespace for it."""
        script = "echo 1 >/proc/sys/net/ipv4/tcp_orphan_retries; exec ss --no-header -K -t state all >/dev/null"
        namespaces.run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{net}", "--", "/bin/sh", "-c", script])


def _describe(pid: int) -> Process | None:
    """A process of a host; None when it is dead."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        argv = tuple(Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1])
    except OSError:
        return None
    if status["State"].split()[0] in "ZX":
        return None
    return Process(int(status["NSpid"].split()[-1]), pid, int(status["Uid"].split()[0]), argv)
