"""The commands of ``%remote``: each returns a value that shows itself as a short table or line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cellferry.errors import BadValue
from cellferry.fleet.states import seller
from cellferry.journey import Command, parse_command
from cellferry.jupyter import detached, purchases
from cellferry.jupyter.display import Table, size_text
from cellferry.ledger import dollars

if TYPE_CHECKING:
    from cellferry.jupyter.magic import RemoteMagics


def run_command(magics: RemoteMagics, line: str) -> Any:
    """Do what the words after ``%remote`` say. Raises RequestError for words that mean nothing."""
    command = parse_command(line)
    return _COMMANDS[command.name](magics, command)


def _status(magics: RemoteMagics, _command: Command) -> Table:
    rows = magics.session.status()  # an earlier kernel of this notebook may have left one, as the ledger knows
    _tell_trouble(magics)
    return Table(rows, purchases.status_columns(rows), "no worker is running; the first %%remote cell starts one")


def _down(magics: RemoteMagics, command: Command) -> Table:
    name = command.args[0] if command.args else None
    ended = magics.session.down(name, by_hand=True)
    magics.screen.worker_lost(name)
    _tell_trouble(magics)
    lost = [words for row in ended for words in row.dropped]
    if lost:
        magics.screen.note(f"dropped with it: {'; '.join(lost)}")
    paid = any(row.reserved_microusd for row in ended)
    total: purchases.Columns = [
        ("came to", lambda row: dollars(row.spent_microusd)),
        ("where", lambda row: seller(row.provider)),
    ]
    total = total if paid else []
    return Table(ended, [("ended", lambda row: row.name), *total], "no worker was running")


def _tell_trouble(magics: RemoteMagics) -> None:
    fleet = magics.session.fleet
    if fleet.trouble:
        magics.screen.note(f"workers that only the ledger knows are not seen: {fleet.trouble}")
    if fleet.purse.behind:
        magics.screen.note(
            f"not everything is in the ledger yet, it is noted as soon as it can be: {fleet.purse.behind}"
        )


def _fetch(magics: RemoteMagics, command: Command) -> Table:
    magics.session.fetch(command.args)
    return Table(command.args, [("came home", lambda name: name)])


def _put(magics: RemoteMagics, command: Command) -> Table:
    sent = magics.session.put(command.args)
    return Table((sent,), [("sent", size_text)])


def _get(magics: RemoteMagics, command: Command) -> Table:
    found = [file for path in command.args for file in magics.session.get(path)]
    return Table(found, [("came home", lambda file: file)], "no worker has such a file")


def _env(magics: RemoteMagics, _command: Command) -> Table:
    return Table(magics.session.env(), _ENV_COLUMNS, "nothing is installed")


def _everywhere(magics: RemoteMagics, command: Command) -> Table:
    cells = magics.session.everywhere
    rows: Any = list(enumerate(cells.cells.values(), 1))
    if command.args:
        rows = _dropped(magics, command.args)
    return Table(rows, _EVERYWHERE_COLUMNS if not command.args else _EVERYWHERE_COLUMNS[:3], "no cell runs everywhere")


def _dropped(magics: RemoteMagics, args: tuple[str, ...]) -> list[Any]:
    """What ``%remote everywhere drop N|all`` has forgotten."""
    cells = magics.session.everywhere
    which = args[1] if len(args) == 2 and args[0] == "drop" else ""
    try:
        if which != "all" and not which.isdigit():
            raise LookupError(which)
        return list(enumerate(cells.drop(None if which == "all" else int(which)), 1))
    except LookupError:
        there = f"there are {len(cells.cells)}" if cells.cells else "there is none"
        raise BadValue(f"`{' '.join(args)}` names no cell that runs everywhere; {there}.", "%remote everywhere lists them; then "
                       "%remote everywhere drop 1, or drop all") from None


_EVERYWHERE_COLUMNS: list[tuple[str, Callable[[Any], str]]] = [
    ("", lambda row: str(row[0])),
    ("cell", lambda row: f"In[{row[1].cell.number}]"),
    ("begins with", lambda row: next((line for line in row[1].cell.source.splitlines() if line.strip()), "")[:60]),
    ("ran on", lambda row: ", ".join(f"{name} ({failed})" if failed else name for name, failed in row[1].ran_on.items()) or "here alone"),
]

_ENV_COLUMNS: list[tuple[str, Callable[[Any], str]]] = [
    ("package", lambda row: row.name),
    ("here", lambda row: row.here),
    ("there", lambda row: row.there),
    ("why", lambda row: row.why),
]

_COMMANDS: dict[str, Callable[[RemoteMagics, Command], Any]] = {
    "status": _status,
    "down": _down,
    "interrupt": detached.interrupt,
    "runs": detached.listed,
    "attach": detached.attach,
    "logs": detached.logs,
    "fetch": _fetch,
    "put": _put,
    "get": _get,
    "everywhere": _everywhere,
    "env": _env,
    "offers": purchases.offers,
    "up": purchases.up,
    "cost": purchases.cost,
    "budget": purchases.budget,
    "extend": purchases.extend,
    "reap": purchases.reap,
    "doctor": purchases.doctor,
}
