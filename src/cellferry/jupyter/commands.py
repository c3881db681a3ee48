"""The commands of ``%remote``: each returns a value that shows itself as a short table or line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cellferry.capture.request import Command, parse_command
from cellferry.errors import NotYet
from cellferry.jupyter.display import Table, table_of

if TYPE_CHECKING:
    from cellferry.jupyter.magic import RemoteMagics


def run_command(magics: RemoteMagics, line: str) -> Any:
    """Do what the words after ``%remote`` say. Raises RequestError for words that mean nothing, NotYet for those
    that this release cannot serve."""
    command = parse_command(line)
    serve = _COMMANDS.get(command.name)
    if serve is None:
        raise NotYet(
            f"`%remote {command.name}` is understood, but not there yet.",
            f"what there is: {', '.join(f'%remote {name}' for name in _COMMANDS)}",
        )
    return serve(magics, command)


def _status(magics: RemoteMagics, _command: Command) -> Table:
    session = magics.opened
    return table_of(session.status() if session else (), "no worker is running; the first %%remote cell starts one")


def _down(magics: RemoteMagics, command: Command) -> Table:
    session = magics.opened
    name = command.args[0] if command.args else None
    ended = session.down(name) if session else ()
    return Table(ended, [("ended", lambda worker: worker)], "no worker was running")


def _interrupt(magics: RemoteMagics, _command: Command) -> Table:
    if magics.opened is not None:
        magics.opened.interrupt()
    return Table((), (), "interrupted" if magics.opened else "nothing is running")


def _fetch(magics: RemoteMagics, command: Command) -> Table:
    magics.session.fetch(command.args)
    return Table(command.args, [("came home", lambda name: name)])


_COMMANDS: dict[str, Callable[[RemoteMagics, Command], Any]] = {
    "status": _status,
    "down": _down,
    "interrupt": _interrupt,
    "fetch": _fetch,
}
