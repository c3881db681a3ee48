"""Hosts: machines of their own on a network of their own, made of namespaces of this one.

A ``Network`` is a switch (a bridge in a network namespace of its own, so that no rule of this machine's firewall sees
what passes) with one wire to this machine. A ``Host`` has its own network, processes, mounts, host name and shared
memory; its root is an overlay over a folder of this machine, and what it writes is gone when it is powered off.
Nothing on it reaches the internet. All of it ends with the process that made it, however that ends, because every
process 1 watches a pipe from its maker. The way into a host is ``nsenter``; that and the mounts need root.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from testbeds import namespaces
from testbeds.host import PATIENCE_S, Host, lasting
from testbeds.needs import command, what_is_missing

__all__ = ["OURS", "PATIENCE_S", "Host", "Network", "leftovers"]

CHECKOUT = str(Path(__file__).parents[2])
OURS = tuple(sorted({CHECKOUT, str(Path.home()), sys.prefix}))
"""For ``hide=``: this checkout, its Python environment and this user's home with all caches, pyenv's Pythons included.

What is left of Python there is the system's own ``/usr/bin/python3``, which has none of our packages.
"""
_open: list[Network] = []


class Network:
    """A switch with hosts on it; a context manager, at whose end all of them are powered off.

    ``address`` is this machine's address on it (10.N.0.1/16). ``number`` is N - 100, of no other network that is open.
    """

    def __init__(self) -> None:
        missing = what_is_missing()
        if missing:
            raise RuntimeError(missing)
        namespaces.remove_links_of_the_dead()
        self.hosts: list[Host] = []
        self._lock = threading.Lock()
        self._counter = itertools.count(1)
        self._faults: dict[str, list[str]] = {}
        self.number, self._holder = namespaces.reserve_network()
        self.address = f"10.{100 + self.number}.0.1"
        self.folder = Path(tempfile.mkdtemp(prefix="cfnet-"))
        self._switch = self._start_switch()
        self.link = namespaces.link_name(self.number)
        self._connect()
        _open.append(self)

    def _start_switch(self) -> subprocess.Popen[str]:
        script = "for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done; echo up; exec cat"
        argv = [command("unshare"), "--net", "--", "/bin/sh", "-c", script]
        switch = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=namespaces.environment(),
            start_new_session=True,
        )
        assert switch.stdout is not None
        if switch.stdout.readline() != "up\n":
            raise RuntimeError("no network namespace can be made here: in a container, give it all its privileges")
        return switch

    def _connect(self) -> None:
        pid = self._switch.pid
        self.on_switch("link add br0 type bridge mcast_snooping 0\nlink set br0 up\n")
        namespaces.run(
            ["ip", "-batch", "-"],
            f"link add {self.link} type veth peer name up0 netns {pid}\n"
            f"addr add {self.address}/16 dev {self.link}\n"
            f"link set {self.link} up\n",
        )
        self.on_switch("link set up0 master br0 up\n")

    def on_switch(self, batch: str) -> str:
        """Commands of ``ip``, one per line, in the switch."""
        return namespaces.run([*namespaces.in_network_of(self._switch.pid), command("ip"), "-batch", "-"], batch)

    def add_address(self, address: str) -> None:
        """Give this machine another address on this network, such as ``198.18.N.1/24``."""
        namespaces.run(["ip", "addr", "add", address, "dev", self.link])

    def host(
        self,
        name: str,
        *,
        root: str = "/",
        hide: Sequence[str] = (),
        addresses: Sequence[str] = (),
        size_bytes: int | None = None,
    ) -> Host:
        """Boot a host; it is up, with its address, when this returns.

        ``root``: the folder that it sees as its own copy. ``hide``: folders that are empty there (see ``OURS``).
        ``addresses``: more addresses of it, with their prefix length. ``size_bytes``: the most that it can write.
        May be called from several threads.
        """
        with self._lock:
            counter = next(self._counter)
        ip = f"10.{100 + self.number}.{1 + counter // 250}.{1 + counter % 250}"
        host = Host(self, name, f"v{counter}", ip)
        with self._lock:
            self.hosts.append(host)
        try:
            host._boot(root=root, hide=hide, addresses=addresses, size_bytes=size_bytes)
        except BaseException:
            host.power_off()
            raise
        return host

    def neighbours(self) -> str:
        """Lines of /etc/hosts: who is on this network."""
        with self._lock:
            hosts = "".join(f"{host.ip} {host.name}\n" for host in self.hosts)
        return f"127.0.0.1 localhost\n{self.address} maker\n{hosts}"

    def set_fault(self, link: str, verdicts: Sequence[str]) -> None:
        """What happens to packets that pass a host's wire in either direction: nft's words, such as ``drop``."""
        with self._lock:
            self._faults[link] = list(verdicts)
            rules = [
                f"{side} {name} {verdict}\n"
                for name, verdicts in self._faults.items()
                for verdict in verdicts
                for side in ("iifname", "oifname")
            ]
            table = "table bridge faults"
            text = f"{table}\ndelete {table}\n{table} {{\nchain passing {{\ntype filter hook forward priority 0\n{''.join(rules)}}}\n}}\n"
            namespaces.run([*namespaces.in_network_of(self._switch.pid), command("nft"), "-f", "-"], text)

    def close(self) -> None:
        """Power off every host and take the network away; what does not go is told by ``leftovers``."""
        if self not in _open:
            return
        _open.remove(self)
        for host in list(self.hosts):
            host.kill()
        for host in list(self.hosts):
            host.power_off()
        lasting.extend(self._wires_that_stay())
        assert self._switch.stdin is not None and self._switch.stdout is not None
        self._switch.stdin.close()
        self._switch.wait(PATIENCE_S)
        self._switch.stdout.close()
        namespaces.remove_link(self.link)
        self._holder.close()
        shutil.rmtree(self.folder)

    def _wires_that_stay(self) -> list[str]:
        """A wire goes with its host's network namespace, shortly after the last process and socket in it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            shown = self._switch_links()
            staying = [host for host in self.hosts if host.link in shown]
            if not staying or time.monotonic() > deadline:
                return [f"the network namespace of host {host.name}: a socket in it is open" for host in staying]
            threading.Event().wait(0.005)

    def _switch_links(self) -> set[str]:
        argv = [*namespaces.in_network_of(self._switch.pid), command("ip"), "-j", "link", "show"]
        return {link["ifname"] for link in json.loads(namespaces.run(argv))}

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def leftovers() -> list[str]:
    """What the networks of this process have left behind: empty when all is as before."""
    networks = [f"network {network.address} is open" for network in _open]
    wires = [f"network interface {name}" for name in namespaces.links_of_this_process() if not _open]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "/cfnet-" in line]
    return [*lasting, *networks, *wires, *mounts]
