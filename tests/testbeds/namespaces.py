"""Linux namespaces from outside: commands in them, who is in them, and names that two runs never share."""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testbeds.needs import SYSTEM_PATH, command

MARK = "CFTEST_LEAK_MARK"
"""The variable by which the tests find processes that they left behind (tests/conftest.py)."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PREFIX = "cf"
MOST_NETWORKS = 120
_CLONE_NEWNET = 0x40000000


def environment(**more: str) -> dict[str, str]:
    """What a process of another machine has in its environment: nothing of this one's but the leak mark."""
    mark = {MARK: os.environ[MARK]} if MARK in os.environ else {}
    return {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8", **mark, **more}


def run(argv: Sequence[str], text: str = "") -> str:
    """The output of a command of this machine; a RuntimeError has what it said on its standard error."""
    argv = [command(argv[0]), *argv[1:]]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, env=environment())
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}\n{text}")
    return done.stdout


def in_network_of(pid: int) -> list[str]:
    """The words before a command that make it run in the network namespace of a process."""
    return [command("nsenter"), f"--net=/proc/{pid}/ns/net", "--"]


def links() -> list[dict[str, Any]]:
    """The network interfaces of this namespace, as ``ip`` tells them."""
    return json.loads(run(["ip", "-j", "addr", "show"]))  # type: ignore[no-any-return]


def link_name(counter: int) -> str:
    """A name for an interface of this process, at most 15 bytes: its process id and a counter, in base 36."""
    return f"{_PREFIX}{_base36(os.getpid()):0>5}{_base36(counter)}"


def links_of_this_process() -> list[str]:
    return [link["ifname"] for link in links() if link["ifname"].startswith(link_name(0)[:7])]


def remove_link(name: str) -> None:
    """Take an interface away. It may be going by itself at this moment, with the namespace of its other end."""
    subprocess.run([command("ip"), "link", "del", name], capture_output=True)


def remove_links_of_the_dead() -> None:
    """Interfaces whose process is gone: their other end's namespace should have taken them away, but may hang."""
    for link in links():
        found = re.fullmatch(rf"{_PREFIX}([0-9a-z]{{5}})[0-9a-z]+", link["ifname"])
        if found and not Path(f"/proc/{int(found[1], 36)}").exists():
            remove_link(link["ifname"])


def reserve_network() -> tuple[int, socket.socket]:
    """(number, what holds it): a number of 0 to 119 whose addresses nothing here uses; closing the socket frees it.

    An abstract unix socket belongs to this network namespace, as the addresses do, and goes with its process.
    """
    taken = {info["local"] for link in links() for info in link["addr_info"] if info["family"] == "inet"}
    for number in range(MOST_NETWORKS):
        if any(address.startswith((f"10.{100 + number}.", f"198.18.{number}.")) for address in taken):
            continue
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0cellferry-testbed-{number}")
            return number, holder
        except OSError:
            holder.close()
    raise RuntimeError(f"all {MOST_NETWORKS} networks for tests are in use here")


def listen(net: int, address: str, port: int) -> socket.socket:
    """A listening socket inside another network namespace (a descriptor of it); the caller closes it."""
    made: list[socket.socket | OSError] = []

    def work() -> None:
        # setns(2) moves one thread, and this one ends here; the socket stays where it was made
        try:
            if ctypes.CDLL(None, use_errno=True).setns(net, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_server((address, port)))
        except OSError as exc:
            made.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


class Membership:
    """The namespaces of one process, held open so that their numbers are not given to others meanwhile."""

    def __init__(self, pid: int) -> None:
        self._held = {
            kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("pid", "mnt", "net")
        }
        self._ids = {kind: os.fstat(held).st_ino for kind, held in self._held.items()}

    def pids(self, *kinds: str) -> list[int]:
        """The processes, by their id here, that are in one of these namespaces."""
        wanted = {kind: f"{kind}:[{self._ids[kind]}]" for kind in kinds or self._ids}
        return [pid for pid in all_pids() if any(_namespace(pid, kind) == name for kind, name in wanted.items())]

    def fd(self, kind: str) -> int:
        """A descriptor of the namespace, for setns(2)."""
        return self._held[kind]

    def close(self) -> None:
        while self._held:
            os.close(self._held.popitem()[1])


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _namespace(pid: int, kind: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
