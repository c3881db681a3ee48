"""Connections to machines with sshd: one event loop in one thread, one connection for each machine, made again when it broke.

OpenSSH's own configuration is read (``Host``, ``User``, ``Port``, ``IdentityFile``, ``ProxyJump``), keys come from there, from
the agent or from ``~/.ssh``. A machine's key must be in the known-hosts file; an unknown one is shown and asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cellferry.config import Cellferry
from cellferry.errors import CellferryError, IdentityError, LinkError, NotPermitted

CONNECT_S = 15.0
TIDY_S = 40.0
KEEPALIVE_S = 3.0
KEEPALIVES = 3
"""A connection that gives no sign of life for ``KEEPALIVE_S * KEEPALIVES`` is over."""
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr", "aes256-ctr")
"""The fast ones first: with hardware support aes128-gcm moves about twice what chacha20 does."""
T = TypeVar("T")
Hook = Callable[[Any], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Answer:
    """What a script on a machine came to."""

    status: int
    out: str
    err: str


class UnknownKey(IdentityError):
    """A host key that nobody has vouched for yet. ``question`` asks somebody to; ``line`` makes it known."""

    def __init__(self, what: str, advice: str, question: str, line: str) -> None:
        super().__init__(what, advice)
        self.question, self.line = question, line


class Connections:
    """All connections of one provider. Every method but the coroutines may be called from every thread."""

    def __init__(self, config: Cellferry) -> None:
        self._config = config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._open: dict[str, Any] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._hooks: dict[str, list[Hook]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` in the loop's thread and wait for it; KeyboardInterrupt cancels it, and waits until it has tidied up."""
        done, loop = Future[T](), self.loop
        tasks: list[asyncio.Task[None]] = []

        async def whole() -> None:
            try:
                done.set_result(await work)
            except BaseException as error:
                done.set_exception(error)

        loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(whole())))
        try:
            return done.result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
            with contextlib.suppress(BaseException):
                done.result(TIDY_S)
            raise

    def reach(self, host: str, ask: Callable[[str], bool] | None) -> None:
        """Have a connection to ``host``. ``ask`` is shown a question about an unknown key, in the thread of the caller; True
        accepts it for good. Without it an unknown key is an error, and a changed one always is."""
        while True:
            try:
                self.run(self.to(host))
                return
            except UnknownKey as unknown:
                if ask is None or not ask(unknown.question):
                    raise
                known = self._known_hosts()
                known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with known.open("a", encoding="utf-8") as file:
                    file.write(unknown.line + "\n")

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="cellferry-ssh", daemon=True).start()
            return self._loop

    async def to(self, host: str) -> Any:
        """The connection to ``host`` ("box", "me@box", "me@box:2222"), made if there is none. Raises as ``connect``."""
        async with self._opening.setdefault(host, asyncio.Lock()):
            there = self._open.get(host)
            if there is not None and not there.is_closed():
                return there
            self._open[host] = made = await self._connect(host)
            for hook in self._hooks.get(host, ()):
                task = asyncio.ensure_future(hook(made))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return made

    def whenever_made(self, host: str, hook: Hook) -> Callable[[], None]:
        """Call ``hook`` with each new connection to ``host`` from now on, until what this returns is called. It must not raise.
        Only in the loop's thread."""
        hooks = self._hooks.setdefault(host, [])
        hooks.append(hook)
        return lambda: hooks.remove(hook) if hook in hooks else None

    def drop(self, host: str) -> None:
        """This connection does not answer: the next use makes a new one. Only in the loop's thread."""
        connection = self._open.pop(host, None)
        if connection is not None:
            connection.abort()

    async def script(self, host: str, text: str, *, wait_s: float | None = None) -> Answer:
        """Run a POSIX shell script there. It goes over standard input: whatever it holds is in no list of processes.

        Raises LinkError when the connection breaks, or no answer comes in time.
        """
        import asyncssh

        connection = await self.to(host)
        try:
            done = await asyncio.wait_for(connection.run("/bin/sh -s", input=text, check=False), wait_s)
        except TimeoutError as error:
            raise LinkError(f"{host} has not answered for {wait_s:.0f} s", "is it overloaded? look at it: ssh " + host) from error
        except (asyncssh.Error, OSError) as error:
            raise explained(host, error) from error
        return Answer(-1 if done.exit_status is None else int(done.exit_status), str(done.stdout), str(done.stderr))

    def close(self) -> None:
        """Close all connections and end the thread. Repeatable."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(CONNECT_S)
            loop.call_soon_threadsafe(loop.stop)

    async def _close(self) -> None:
        for connection in self._open.values():
            connection.abort()
        self._open.clear()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connect(self, host: str, tunnel: Any = None) -> Any:
        import asyncssh

        options = self._options(host)
        if tunnel is None:
            tunnel = await self._jumps(options)
        options["tunnel"] = tunnel
        try:
            try:
                return await asyncio.wait_for(asyncssh.connect(**options), CONNECT_S)
            except asyncssh.HostKeyNotVerifiable:
                await self._look_at_key(host, options)
                raise
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise explained(host, error) from error

    async def _jumps(self, options: dict[str, Any]) -> Any:
        """A connection to the last of the hosts that ``ProxyJump`` names, each one's key verified; None without any."""
        jumps = str(_as_configured(options).tunnel or "")
        there = None
        for jump in filter(None, jumps.split(",")):
            there = await self._connect(jump, there) if there is not None else await self.to(jump)
        return there

    def _options(self, host: str) -> dict[str, Any]:
        user, _, machine = host.rpartition("@")
        name, port = _split(machine)
        known, settings = self._known_hosts(), Path(self._config.ssh_config).expanduser()
        options: dict[str, Any] = {
            "host": name, "known_hosts": str(known) if known.exists() else b"", "config": [str(settings)] if settings.exists() else [],
            "encryption_algs": CIPHERS, "keepalive_interval": KEEPALIVE_S, "keepalive_count_max": KEEPALIVES,
            "connect_timeout": CONNECT_S, "login_timeout": CONNECT_S,
        }  # fmt: skip
        return options | ({"username": user} if user else {}) | ({"port": port} if port else {})

    def _known_hosts(self) -> Path:
        return Path(self._config.ssh_known_hosts).expanduser()

    async def _look_at_key(self, host: str, options: dict[str, Any]) -> None:
        """The key could not be verified: raises UnknownKey, or IdentityError for one that is not what it was."""
        import asyncssh

        asked = {key: options[key] for key in ("host", "port", "config", "tunnel") if key in options}
        key = await asyncio.wait_for(asyncssh.get_server_host_key(**asked), CONNECT_S)
        if key is None:
            raise IdentityError(f"{host} shows no host key", f"look at it: ssh -v {host}")
        machine, port = _split(host.rpartition("@")[2])
        told = _as_configured(options)
        names = dict.fromkeys([machine, str(told.host or machine)])
        known = self._known_hosts()
        number = port or int(getattr(told, "port", 0) or 22)
        found = asyncssh.match_known_hosts(str(known), machine, "", number)[0] if known.exists() else ()
        print_ = f"{key.get_algorithm()} {key.get_fingerprint()}"
        if found:
            raise IdentityError(
                f"{host} shows another key than the one in {known}: {print_}. Somebody may be in between; nothing was sent",
                f"if the machine was installed anew, take the old key out: ssh-keygen -R {machine}",
            )
        line = f"{','.join(n if number == 22 else f'[{n}]:{number}' for n in names)} {key.export_public_key().decode().strip()}"
        what = f"{host} shows a key that is not known here: {print_}"
        raise UnknownKey(
            what, f"compare it with the machine's own (ssh-keygen -lf on it), then type in a terminal: ssh {host}",
            f"{what}. Compare it with the machine's own. Connect, and know it from now on? (yes/no) ", line,
        )  # fmt: skip


def _as_configured(options: dict[str, Any]) -> Any:
    """What OpenSSH's configuration makes of the host."""
    import asyncssh

    return asyncssh.SSHClientConnectionOptions(**{k: v for k, v in options.items() if k in ("host", "port", "config", "username")})


def explained(host: str, error: Exception) -> CellferryError:
    """An error of ssh in words."""
    import asyncssh

    if isinstance(error, CellferryError):
        return error
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return IdentityError(f"the key of {host} cannot be verified: {error}", f"look at it: ssh -v {host}")
    if isinstance(error, asyncssh.PermissionDenied):
        return NotPermitted(
            f"{host} does not let you in: {error}",
            f"give it your key: ssh-copy-id {host} - or name one: IdentityFile in your ssh configuration",
        )
    if isinstance(error, TimeoutError):
        return LinkError(f"{host} does not answer", f"is it on, and reachable from here? try: ssh {host}")
    if isinstance(error, ConnectionRefusedError):
        return LinkError(f"nothing listens for ssh at {host}: {error}", f"is sshd running there? try: ssh {host}")
    return LinkError(f"the connection to {host} failed: {str(error) or type(error).__name__}", f"try it in a terminal: ssh {host}")


def _split(machine: str) -> tuple[str, int | None]:
    """ "box:2222" -> ("box", 2222)."""
    name, colon, port = machine.rpartition(":")
    return (name, int(port)) if colon and port.isdigit() and ":" not in name else (machine, None)
