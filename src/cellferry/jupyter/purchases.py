"""The ``%remote`` commands about machines and money: ``offers``, ``up``, ``cost``, ``budget``, ``extend``, ``reap``, ``doctor``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cellferry.fleet import shopping
from cellferry.fleet.states import seller
from cellferry.jupyter.display import Table, duration_text, size_text
from cellferry.ledger import dollars
from cellferry.placement.text_table import age

if TYPE_CHECKING:
    from cellferry.journey import Command, Session
    from cellferry.jupyter.magic import RemoteMagics
    from cellferry.model import CellRequest

Columns = list[tuple[str, Callable[[Any], str]]]


def offers(magics: RemoteMagics, command: Command) -> Table:
    """What could be had, cheapest first."""
    session = magics.session
    if "refresh" in command.flags:
        try:
            shopping.refresh(session.fleet, command.request, session.config, magics.screen.progress)
        finally:
            magics.screen.progress("")
    return offers_table(session, command.request)


def offers_table(session: Session, request: CellRequest) -> Table:
    """The machines that would do for ``request``, cheapest first."""
    found = (*shopping.offers(session.fleet, request, session.config), *shopping.elsewhere(request, session.config))
    return Table(found, OFFERS, "no machine on offer fits")


def up(magics: RemoteMagics, command: Command) -> Table:
    """Start a worker now; cells find it there."""
    name = magics.session.up(command.request)
    rows = [row for row in magics.session.status() if row.name == name]
    return Table(rows, status_columns(rows))


def cost(magics: RemoteMagics, command: Command) -> Table:
    """What was spent, this person's or everybody's."""
    by: Any = command.options.get("by", "notebook")
    purse = magics.session.fleet.purse
    rows = purse.costs(by, everybody="everybody" in command.flags)
    if purse.behind:
        magics.screen.note(f"not everything is in the ledger yet, it is noted as soon as it can be: {purse.behind}")
    return cost_table(rows, by)


def budget(magics: RemoteMagics, command: Command) -> Table:
    """Show the limits, or set one."""
    purse = magics.session.fleet.purse
    if command.amount_microusd is not None:
        purse.set_limit(command.options.get("per", "notebook"), command.amount_microusd)
    return balance_table(shopping.balances(magics.session.fleet))


def extend(magics: RemoteMagics, command: Command) -> Table:
    """More money, and with it time, for a running worker."""
    name = command.args[0]
    assert command.amount_microusd is not None
    magics.session.fleet.extend(name, command.amount_microusd)
    rows = [row for row in magics.session.status() if row.name == name]
    return Table(rows, status_columns(rows))


def reap(magics: RemoteMagics, _command: Command) -> Table:
    """End what nobody owns."""
    return Table(magics.session.fleet.reap(), REAPED, "nothing to end: every machine is paid for by somebody")


def doctor(magics: RemoteMagics, _command: Command) -> Table:
    """Check this installation, and every provider that is set up."""
    from cellferry.fleet import doctor as examination

    found = []
    session = magics.session
    try:
        for checks in (examination.examine(session.config), shopping.examine(session.fleet, session.config)):
            for check in checks:
                found.append(check)
                magics.screen.progress(f"{check.name}: {check.found}")
    finally:
        magics.screen.progress("")
    return Table(found, CHECKS)


def cost_table(rows: Sequence[Any], by: str) -> Table:
    """``ledger.CostRow``s, with their sum."""
    columns: Columns = [
        (by, lambda row: row.key or "-"),
        ("machines", lambda row: dollars(row.machine_microusd)),
        ("disk and traffic (estimated)", lambda row: dollars(row.estimated_microusd) if row.estimated_microusd else ""),
        ("time", lambda row: duration_text(row.seconds)),
        ("cells", lambda row: str(row.runs)),
    ]
    return Table(rows, columns, "nothing was spent")


def balance_table(rows: Sequence[tuple[bool, Any]]) -> Table:
    """Limits and how they stand."""
    return Table(rows, BALANCES, "no limit is set; for example: %remote budget 20 --per day")


def status_columns(rows: Sequence[Any]) -> Columns:
    """Columns of ``%remote status``; those about money only where there is some."""
    return [*STATUS, *MONEY] if any(row.machine for row in rows) else [*STATUS]


def offer_price(microusd: int | None) -> str:
    return "" if microusd is None else "free" if microusd == 0 else f"{dollars(microusd)}/h"


def gpus_text(row: Any) -> str:
    return f"{row.gpu_count}x {row.gpu} {row.gpu_memory_bytes / (1 << 30):.0f} GiB" if row.gpu else ""


def _activity(row: Any) -> str:
    if row.busy is None:
        return ""
    return "runs a cell" if row.busy else "waits"


def _age(row: Any) -> str:
    return "" if row.price_age_s is None else age(row.price_age_s)


STATUS: Columns = [
    ("worker", lambda row: row.name),
    ("where", lambda row: seller(row.provider)),
    ("state", lambda row: row.state),
    ("does", _activity),
    ("up for", lambda row: duration_text(row.up_for_s) if row.up_for_s is not None else ""),
    ("ends in", lambda row: "" if row.ends_in_s is None else duration_text(row.ends_in_s)),
    ("memory free", lambda row: "" if row.memory_available_bytes is None else size_text(row.memory_available_bytes)),
]
MONEY: Columns = [
    ("machine", lambda row: row.machine),
    ("price", lambda row: offer_price(row.microusd_per_hour) if row.machine else ""),
    ("spent", lambda row: dollars(row.spent_microusd) if row.machine else ""),
    ("at most", lambda row: dollars(row.reserved_microusd) if row.reserved_microusd else ""),
]
OFFERS: Columns = [
    ("provider", lambda row: seller(row.provider)),
    ("where", lambda row: row.zone or row.region),
    ("machine", lambda row: row.instance),
    ("GPUs", gpus_text),
    ("CPUs", lambda row: str(row.cpus)),
    ("memory", lambda row: size_text(row.memory_bytes)),
    ("on demand", lambda row: offer_price(row.microusd_per_hour)),
    ("spot", lambda row: offer_price(row.spot_microusd_per_hour)),
    ("price is", lambda row: ", ".join(filter(None, (_age(row), row.source)))),
    ("to be had", lambda row: row.likelihood),
    ("", lambda row: row.note),
]
REAPED: Columns = [
    ("ended", lambda row: row.what),
    ("provider", lambda row: seller(row.provider)),
    ("worker", lambda row: row.name),
    ("why", lambda row: row.why),
    ("came to", lambda row: dollars(row.microusd) if row.microusd else ""),
]
CHECKS: Columns = [
    ("", lambda row: "ok" if row.ok else "BAD"),
    ("what", lambda row: row.name),
    ("found", lambda row: row.found),
    ("to do", lambda row: "" if row.ok else row.advice),
]
BALANCES: Columns = [
    ("limit per", lambda row: row[1].limit.period + (" (simulated)" if row[0] else "")),
    ("limit", lambda row: dollars(row[1].limit.microusd)),
    ("spent", lambda row: dollars(row[1].spent_microusd)),
    ("held", lambda row: dollars(row[1].reserved_microusd)),
    ("left", lambda row: dollars(row[1].left_microusd)),
]
