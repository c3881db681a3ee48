"""A real PostgreSQL server of the tests' own: one folder, one unix socket, no port; nothing is left of it."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

PATIENCE_S = 60.0
PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""
PROGRAMS = Path("/usr/lib/postgresql")
"""Where Debian's package puts them, by version; elsewhere they are on PATH."""


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, the newest version; None: not installed."""
    found = sorted(PROGRAMS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _end_with_parent() -> None:
    """Also when the tests are killed: Linux then ends the server in its orderly way."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


class Server:
    """A server that runs; ``url`` makes a new, empty database in it."""

    def __init__(self, bin_folder: Path, *, fsync: bool = False) -> None:
        self.bin_folder = bin_folder
        # Not below the tests' own folder: that is closed to the user that the server runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="cfpg", dir="/tmp"))
        self.user: dict[str, object] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        data = self.folder / "data"
        try:
            self._run(bin_folder / "initdb", "-D", data, "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
            self._allow_passwords(data / "pg_hba.conf")
            self.log = (self.folder / "log").open("wb")
            self._command = [bin_folder / "postgres", "-D", data, *self._options(fsync=fsync)]
            self.start()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def start(self) -> None:
        """As the machine does at its boot; returns when it answers."""
        self.process = subprocess.Popen(
            self._command, stdout=self.log, stderr=self.log, preexec_fn=_end_with_parent, **self.user
        )
        self._wait_until_ready()

    def stop(self) -> None:
        """Whoever is connected is not; ``start`` begins again with what was committed."""
        self.process.send_signal(signal.SIGINT)  # "fast shutdown"
        self.process.wait(PATIENCE_S)

    def _options(self, *, fsync: bool) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": self.folder,
            "unix_socket_permissions": "0700",
            "fsync": "on" if fsync else "off",
            "max_connections": 60,
        }
        return [word for name, value in options.items() for word in ("-c", f"{name}={value}")]

    def _run(self, *command: object) -> None:
        subprocess.run([str(word) for word in command], check=True, capture_output=True, cwd="/", **self.user)

    def _allow_passwords(self, rules: Path) -> None:
        """The user "locked" needs one, anybody else is let in."""
        rules.write_text("local all locked scram-sha-256\nlocal all all trust\n")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(self.address()).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text()
                    self.end()
                    raise RuntimeError(f"PostgreSQL does not start:\n{log}") from None
                time.sleep(0.02)

    def address(self, database: str = "postgres") -> str:
        return f"host={self.folder} user=owner dbname={database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            connection.execute(statement)

    def new_database(self) -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str, user: str = "owner") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={quote(str(self.folder), safe='')}"

    def drop_database(self, name: str) -> None:
        """Fails if somebody is still connected: a ledger was not closed."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.execute(f"DROP DATABASE {name}")
                return
            except psycopg.errors.ObjectInUse:  # a connection that was closed a moment ago
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def end(self) -> None:
        """Stop it and prove that it is gone, with all of its processes and files."""
        try:
            family = [psutil.Process(self.process.pid)]
            family += family[0].children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        self.stop()
        self.log.close()
        alive = psutil.wait_procs(family, timeout=PATIENCE_S)[1]
        shutil.rmtree(self.folder)
        assert not alive, f"the server left {alive}"
