"""Short tables and lines: HTML in a notebook, text in a terminal; the rows stay usable by code."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cellferry.model import CellReport, PackageRow, Shipped


def as_html(text: str) -> str:
    """Text for a page. A dollar sign stands by itself: between two of them, frontends would set mathematics."""
    return html.escape(text).replace("$", "<span>$</span>")


class Table(Sequence[Any]):
    """The rows that a ``%remote`` command returns: a sequence of frozen dataclasses that shows itself as a table.

    ``columns`` maps a heading to the text of a row's cell; ``empty`` is shown when there are no rows.
    """

    def __init__(self, rows: Sequence[Any], columns: Sequence[tuple[str, Any]], empty: str = "nothing") -> None:
        self._rows = tuple(rows)
        self._heads = [head for head, _ in columns]
        self._texts = [[str(text(row)) for _, text in columns] for row in self._rows]
        self._empty = empty

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __repr__(self) -> str:
        if not self._rows:
            return self._empty
        lines = [self._heads, *self._texts]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self._heads))]
        return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
                         for line in lines)

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<em>{html.escape(self._empty)}</em>"
        style = ' style="text-align: left; white-space: nowrap"'
        head = "".join(f"<th{style}>{as_html(text)}</th>" for text in self._heads)
        body = "".join(
            "<tr>" + "".join(f"<td{style}>{as_html(text)}</td>" for text in line) + "</tr>" for line in self._texts
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def shipped_table(shipped: Sequence[Shipped]) -> Table:
    """What a cell sends, or would send (``estimate``)."""
    wheres = {"sent": "sent", "there": "already there", "changed": "changed part sent"}
    return Table(
        shipped,
        [
            ("name", lambda row: row.name),
            ("type", lambda row: row.type_name),
            ("size", lambda row: size_text(row.size_bytes)),
            ("how", lambda row: wheres[row.where]),
            ("to send", lambda row: size_text(row.sent_bytes)),
        ],
        "the cell needs nothing from this notebook",
    )


def packages_table(packages: Sequence[PackageRow]) -> Table:
    """What would be installed on the worker (``estimate``)."""
    return Table(
        packages,
        [
            ("package", lambda row: row.name),
            ("version", lambda row: row.there),
            ("here", lambda row: row.here if row.here != row.there else "the same"),
            ("size", lambda row: size_text(row.size_bytes) if row.size_bytes else ""),
            ("how", lambda row: row.why or "from an index"),
        ],
        "nothing is to be installed",
    )


class Estimate(Sequence[Any]):
    """What a cell would ship (its rows), what would be installed (``packages``), and on which ``offers`` it may run."""

    def __init__(self, shipped: Table, packages: Table, offers: Table | None = None) -> None:
        self.shipped, self.packages, self.offers = shipped, packages, offers

    def __getitem__(self, index: Any) -> Any:
        return self.shipped[index]

    def __len__(self) -> int:
        return len(self.shipped)

    def __repr__(self) -> str:
        return "\n\n".join(f"{head}\n{table!r}" if head else repr(table) for head, table in self._parts())

    def _repr_html_(self) -> str:
        return "".join(f"<p>{as_html(head)}</p>{table._repr_html_()}" for head, table in self._parts())

    def _parts(self) -> list[tuple[str, Table]]:
        parts = [("", self.shipped)]
        if len(self.packages):
            size = sum(row.size_bytes for row in self.packages)
            parts.append((f"to be installed on the worker: {len(self.packages)} packages, {size_text(size)}", self.packages))
        if self.offers is not None:
            parts.append(("machines that would do, cheapest first; no machine was asked for", self.offers))
        return parts


def estimate(report: CellReport, offers: Table | None = None) -> Estimate:
    """What ``%%remote estimate`` shows."""
    return Estimate(shipped_table(report.shipped), packages_table(report.packages), offers)


def summary(report: CellReport, offered: Collection[str] = ()) -> str:
    """What a user should know after a cell beyond its outputs; empty when there is nothing to say.

    ``offered``: the names for which something of their own is shown (``stays``).
    """
    lines = list(report.notes)
    stayed = [name for name in unsaid(report) if name not in offered]
    if stayed:
        lines.append(stays(report.worker, stayed))
    return "\n".join(lines)


def unsaid(report: CellReport) -> list[str]:
    """The names that stayed on the worker, without those of which a note tells."""
    told = " ".join(report.notes)
    return [name for name in report.stayed_there if name not in told]


def stays(worker: str, names: Sequence[str]) -> str:
    """That these values are on the worker only."""
    return f"stays on worker {worker} until a local cell names it: {', '.join(names)}"


def size_text(size_bytes: float) -> str:
    """A size as people say it: ``0 B``, ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" or size_bytes >= 100 else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"


def duration_text(seconds: float) -> str:
    """A time span as people say it: ``0.2 s``, ``3 min``, ``2.0 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
