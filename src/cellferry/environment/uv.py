"""Run ``uv``, which resolves and installs; credentials reach it through memory alone.

An index's user and password are neither an argument nor in the environment nor in a file: they are a ``netrc`` in an
anonymous memory file that only uv inherits (uv reads the file that ``NETRC`` names,
https://docs.astral.sh/uv/concepts/authentication/http/).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from cellferry.errors import EnvironmentFailed
from cellferry.presses import unbroken

Line = Callable[[str], None]
Credentials = Mapping[str, tuple[str, str]]
"""User and password for each host name."""


@dataclass(frozen=True)
class Outcome:
    """How one run of uv ended: ``ok``, and what it wrote to its two streams."""

    ok: bool
    out: str
    err: str


def uv_binary() -> str:
    """The path of uv, that of this environment or one on PATH; raises EnvironmentFailed with the command that installs it."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError) as exc:
        beside = shutil.which("uv")  # where the package came without its program: put together from installed files
        if beside:
            return beside
        raise EnvironmentFailed("`uv`, which makes environments, is not installed", "pip install uv") from exc


def run_uv(
    args: Sequence[str], *, cwd: Path | None = None, credentials: Credentials | None = None,
    env: Mapping[str, str] | None = None, on_line: Line | None = None,
) -> Outcome:  # fmt: skip
    """Run ``uv ARGS`` to its end; ``on_line`` gets the lines of its standard error as they come.

    Interrupted (KeyboardInterrupt), it ends uv first. Raises EnvironmentFailed only when there is no uv.
    """
    process: subprocess.Popen[str] | None = None
    err: list[str] = []
    try:
        with unbroken():
            process = _start(args, cwd, credentials or {}, env or {})
        reader = threading.Thread(target=_follow, args=(process, err, on_line), name="cellferry-uv", daemon=True)
        reader.start()
        assert process.stdout is not None
        out = process.stdout.read()
        status = process.wait()
    except BaseException:
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise
    reader.join()
    return Outcome(status == 0, out, "".join(err))


def _start(args: Sequence[str], cwd: Path | None, credentials: Credentials, env: Mapping[str, str]) -> subprocess.Popen[str]:
    fds, extra = _netrc(credentials)
    try:
        return subprocess.Popen(
            [uv_binary(), "--no-progress", "--color", "never", *args], cwd=cwd, pass_fds=fds, text=True,
            env={**os.environ, **env, **extra}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0,
        )  # fmt: skip
    finally:
        for fd in fds:
            os.close(fd)


def _follow(process: subprocess.Popen[str], lines: list[str], on_line: Line | None) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if on_line is not None:
            on_line(line.rstrip())


def _netrc(credentials: Credentials) -> tuple[list[int], dict[str, str]]:
    """The user's own netrc and these credentials, in memory: descriptors to pass on, and what to add to the environment."""
    if not credentials:
        return [], {}
    own = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        rest = own.read_text("utf-8")
    except OSError:
        rest = ""
    lines = [f"machine {host} login {user} password {word}" for host, (user, word) in credentials.items()]
    fd = os.memfd_create("netrc", os.MFD_CLOEXEC)
    os.write(fd, ("\n".join([*lines, rest]) + "\n").encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return [fd], {"NETRC": f"/proc/self/fd/{fd}"}


def without_credentials(url: str) -> tuple[str, tuple[str, str, str] | None]:
    """``url`` without its user and password, and (host, user, password) if it had them."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, None
    userinfo, _, host = parts.netloc.rpartition("@")
    user, _, word = userinfo.partition(":")
    bare = urlunsplit(parts._replace(netloc=host))
    return bare, (parts.hostname or host, unquote(user), unquote(word))
