"""Process 1 of a host: makes the host's own root, then reaps, reads the console, and powers off.

A script of its own that imports nothing of the tests, started by ``unshare`` in fresh namespaces. It writes its process
id as its maker sees it, reads one line of settings (JSON) from standard input, and writes ``ready``. After that the end
of standard input means that the maker has closed it or is dead: the host powers off, and with process 1 the kernel
kills every process of the host. Exit code: see ``POWERED_OFF`` and ``REBOOTED``; 0 is the maker's own end.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

POWERED_OFF, REBOOTED = 40, 41
GRACE_S = 1.0
SYSRQ = "/proc/sysrq-trigger"
"""Where root ends the whole machine by one letter, if its kernel has that."""

_BIND, _REC, _RDONLY, _REMOUNT, _NOSUID, _NODEV, _NOEXEC = 0x1000, 0x4000, 0x1, 0x20, 0x2, 0x4, 0x8
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
"""System call numbers of pivot_root(2), which the C library does not wrap."""
_CAPBSET_DROP = 24
DROPPED = {"sys_time": 25, "sys_module": 16, "sys_rawio": 17}
"""Capabilities (linux/capability.h) that reach the whole machine and not just this host: no process in it has them."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); an OSError names the target."""
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None):
        raise OSError(ctypes.get_errno(), f"mount {kind or 'bind'}: {os.strerror(ctypes.get_errno())}", target)


def make_root(settings: dict[str, Any]) -> None:
    """An overlay over ``root`` becomes this namespace's root; what is written goes to a tmpfs and ends with the host."""
    place = settings["folder"]
    size = f",size={settings['size_bytes']}" if settings["size_bytes"] else ""
    mount("tmpfs", place, "tmpfs", 0, f"mode=755{size}")
    for name in ("upper", "work", "root"):
        Path(place, name).mkdir()
    root = f"{place}/root"
    layers = f"lowerdir={settings['root']},upperdir={place}/upper,workdir={place}/work"
    mount("overlay", root, "overlay", 0, layers)
    for name, options in (("tmp", "mode=1777"), ("run", "mode=755"), ("dev", "mode=755"), ("var/tmp", "mode=1777")):
        Path(root, name).mkdir(parents=True, exist_ok=True)
        mount("tmpfs", f"{root}/{name}", "tmpfs", _NOSUID, options)
    for hidden in settings["hide"]:
        if Path(root + hidden).is_dir():
            mode = stat.S_IMODE(Path(root + hidden).stat().st_mode)
            mount("tmpfs", root + hidden, "tmpfs", 0, f"mode={mode:o}")
    make_devices(f"{root}/dev")
    make_proc(root)
    # a symbolic link into the machine's /run would lead nowhere here
    for name, (text, mode) in settings["files"].items():
        Path(root + name).unlink(missing_ok=True)
        Path(root + name).write_text(text)
        Path(root + name).chmod(mode)
    os.chdir(root)
    number = _PIVOT_ROOT[os.uname().machine]
    if _libc.syscall(number, b".", b".") or _libc.umount2(b".", _DETACH):
        raise OSError(ctypes.get_errno(), "pivot_root", root)
    os.chdir("/")


def make_devices(dev: str) -> None:
    """The devices that every program expects, and a console that is read by this process."""
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        os.mknod(f"{dev}/{name}", 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        Path(f"{dev}/{name}").chmod(0o666)
    os.mknod(f"{dev}/tty", 0o666 | stat.S_IFCHR, os.makedev(5, 0))
    Path(f"{dev}/tty").chmod(0o666)
    # a pipe and no terminal: nothing can become its session's leader, and no line ending is changed on the way
    os.mkfifo(f"{dev}/console", 0o622)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path(dev, name).symlink_to(target if name == "fd" else f"/proc/self/{target}")
    for name in ("pts", "shm", "mqueue"):
        Path(dev, name).mkdir()
    mount("devpts", f"{dev}/pts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5")
    Path(dev, "ptmx").symlink_to("pts/ptmx")
    mount("tmpfs", f"{dev}/shm", "tmpfs", _NOSUID | _NODEV, "mode=1777")


def make_proc(root: str) -> None:
    """/proc and /sys of these namespaces, with what would change or end the whole machine taken out."""
    mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    mount("sysfs", f"{root}/sys", "sysfs", _NOSUID | _NODEV | _NOEXEC | _RDONLY)
    for name, flags in (("sys", _RDONLY), ("sys/net", 0)):
        mount(f"{root}/proc/{name}", f"{root}/proc/{name}", "", _BIND | _REC)
        mount("", f"{root}/proc/{name}", "", _BIND | _REMOUNT | _NOSUID | _NODEV | _NOEXEC | flags)
    os.mkfifo(f"{root}/run/initctl", 0o600)
    if Path(SYSRQ).exists():
        # the real one would power off the machine that runs the tests
        os.mkfifo(f"{root}/run/sysrq", 0o600)
        mount(f"{root}/run/sysrq", root + SYSRQ, "", _BIND)


def drop_capabilities() -> None:
    for number in DROPPED.values():
        _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)


def reap() -> None:
    """Take leave of every process that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def serve(console: int) -> None:
    """Until the end of standard input, or until somebody in the host powers it off."""
    words = {
        "/run/initctl": {b"poweroff": POWERED_OFF, b"reboot": REBOOTED},
        "/run/sysrq": {b"o": POWERED_OFF, b"b": REBOOTED},
    }
    # opened for both: there is always a reader, and never an end of the file
    pipes = {os.open(name, os.O_RDWR): meaning for name, meaning in words.items() if Path(name).exists()}
    screen = os.open("/dev/console", os.O_RDWR)
    child_ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        for ready in select.select([0, screen, child_ended, *pipes], [], [])[0]:
            said = os.read(ready, 65536)
            if ready == screen:
                os.write(console, said)
            elif ready in pipes:
                for code in (pipes[ready][word] for word in said.split() if word in pipes[ready]):
                    shut_down(screen, console)
                    os._exit(code)
            elif ready == 0 and not said:
                os._exit(0)
            reap()


def shut_down(screen: int, console: int) -> None:
    """Ask every process to end, and give them a moment, in which what they say last is still read."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while others() and time.monotonic() < deadline:
        if select.select([screen], [], [], 0.01)[0]:
            os.write(console, os.read(screen, 65536))
        reap()
    while select.select([screen], [], [], 0)[0]:
        os.write(console, os.read(screen, 65536))


def others() -> bool:
    """Whether any process but this one is alive here."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and entry.name != "1" and b") Z" not in (entry / "stat").read_bytes():
                return True
        except OSError:
            continue
    return False


def main() -> None:
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    # /proc is still the maker's, and shows this process under the id that it has there
    print(Path("/proc/self").readlink(), flush=True)
    settings = json.loads(sys.stdin.readline())
    console = os.open(settings["console"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _libc.sethostname(settings["name"].encode(), len(settings["name"]))
    make_root(settings)
    drop_capabilities()
    os.umask(0o022)
    print("ready", flush=True)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    serve(console)


if __name__ == "__main__":
    main()
