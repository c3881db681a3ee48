"""A real OpenSSH server on a host: with its own key, its own users, and no way in but the keys that it is told of."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbeds import namespaces
from testbeds.hosts import PATIENCE_S, Host
from testbeds.needs import command

FIRST_UID = 4001
_KEY = "/etc/ssh/test_host_key"
_KEYS = "/etc/ssh/authorized"


@dataclass(frozen=True)
class ClientKey:
    """A key pair of somebody who logs in: the private file (mode 0600), and the line for authorized_keys."""

    path: Path
    public: str


def make_client_key(folder: Path, name: str = "id_ed25519") -> ClientKey:
    """A fresh key without a passphrase, ``folder/name`` and ``folder/name.pub``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    namespaces.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)])
    return ClientKey(path, path.with_suffix(".pub").read_text().strip())


class Sshd:
    """sshd on ``host``, listening when this returns.

    ``keys``: for each user, the public keys with which one may log in as that user. Users who do not exist are made,
    each with a home of their own below /home. ``options``: more of sshd's own, as ``Name=value``; the first wins, so
    they override what is set here. It ends with its host, or by ``stop``.
    """

    def __init__(
        self, host: Host, keys: Mapping[str, Sequence[str]], *, port: int = 22, options: Sequence[str] = ()
    ) -> None:
        self.host, self.port, self.address = host, port, host.ip
        host.run(["mkdir", "-p", "/run/sshd", "/etc/ssh"])
        self.renew_host_key()
        for user, lines in keys.items():
            self.allow(user, lines)
        self._options = [*options, *self._defaults()]
        self._process = self._start()

    def _defaults(self) -> list[str]:
        mark = os.environ.get(namespaces.MARK, "")
        return [
            f"Port={self.port}",
            f"HostKey={_KEY}",
            f"AuthorizedKeysFile={_KEYS}/%u",
            "PermitRootLogin=prohibit-password",
            "PasswordAuthentication=no",
            "KbdInteractiveAuthentication=no",
            "UsePAM=no",
            "UseDNS=no",
            # the folders above belong to an overlay, whose owners sshd would doubt
            "StrictModes=no",
            "PidFile=none",
            "MaxStartups=100",
            "MaxSessions=100",
            "LogLevel=VERBOSE",
            "Subsystem=sftp internal-sftp",
            # a session has a new environment: without the mark, what it leaves behind would not be found
            *([f"SetEnv={namespaces.MARK}={mark}"] if mark else []),
        ]

    def _start(self) -> subprocess.Popen[bytes]:
        options = [word for option in self._options for word in ("-o", option)]
        argv = ["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-E", "/var/log/sshd.log", *options]
        process: subprocess.Popen[bytes] = self.host.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection((self.address, self.port), 1).close()
                return process
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"sshd does not start: {self.log()}") from None

    def allow(self, user: str, keys: Sequence[str]) -> None:
        """Let who has one of these keys, and nobody else, log in as ``user`` from now on."""
        if self.host.run(["id", user], check=False).returncode:
            made = self.host.run(["sh", "-c", f"ls {_KEYS} 2>/dev/null | grep -vc '^root$'"], check=False).stdout
            self.host.add_user(user, FIRST_UID + int(made or 0))
        self.host.write(f"{_KEYS}/{user}", "".join(f"{key}\n" for key in keys), 0o644)

    def renew_host_key(self) -> None:
        """Make a new host key, which connections from now on are shown: this host looks like another one."""
        self.host.run(["rm", "-f", _KEY, f"{_KEY}.pub"])
        self.host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.host.name, "-f", _KEY])
        self.host_key = " ".join(self.host.read(f"{_KEY}.pub").split()[:2])

    def known_hosts(self, *names: str) -> str:
        """The line of known_hosts that pins this server, under its address (and more names)."""
        where = [self.address, *names]
        if self.port != 22:
            where = [f"[{name}]:{self.port}" for name in where]
        return f"{','.join(where)} {self.host_key}\n"

    def log(self) -> str:
        """What sshd has told so far: who came, with which key, and why not."""
        return self.host.run(["cat", "/var/log/sshd.log"], check=False).stdout

    def restart(self) -> None:
        """Stop and start it, as after ``renew_host_key``, whose key it reads at its start."""
        self.stop()
        self._process = self._start()

    def stop(self) -> None:
        """Let nobody else in; sessions that are open stay. May be repeated."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)


def ssh_command(server: Sshd, key: ClientKey, known_hosts: Path, user: str = "root") -> list[str]:
    """The words of OpenSSH's client that log in with exactly this key and these known hosts, whatever is configured."""
    options = [
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        f"UserKnownHostsFile={known_hosts}",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "ConnectTimeout=10",
    ]
    words = [word for option in options for word in ("-o", option)]
    return [
        command("ssh"),
        "-F",
        "none",
        "-i",
        str(key.path),
        *words,
        "-p",
        str(server.port),
        f"{user}@{server.address}",
    ]
