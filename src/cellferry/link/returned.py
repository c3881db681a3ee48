"""What came back for a cell, a fetch or a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cellferry.parcels.parcel import Arrived
from cellferry.parcels.plain_parcel import PlainArrived

_MOST_NAMED = 5


@dataclass
class Returned:
    """What came back for a cell or a fetch; ``arrived`` is not applied yet."""

    frame: dict[str, Any]
    arrived: Arrived | PlainArrived
    received_bytes: int

    def take_instead(self, values: dict[str, Any]) -> None:
        """Bind these here, for values of that name that stayed on the worker."""
        self.arrived.roots.update(values)
        for name in values:
            self.frame["stayed"].pop(name, None)

    def take_only(self, may: Callable[[str], bool], *, future: bool) -> list[str]:
        """Bind and delete only names that ``may`` be; returns the others. ``future``: the compiler's flags may change, too."""
        if not future:
            self.frame["flags"] = 0
        left = [name for name in self.arrived.roots if not name.startswith("\x00") and not may(name)]
        for name in left:
            del self.arrived.roots[name]
            self.frame["stayed"].pop(name, None)
        left += [name for name in self.frame["deleted"] if not may(name)]
        self.frame["deleted"] = [name for name in self.frame["deleted"] if may(name)]
        return list(dict.fromkeys(left))


def not_taken(names: Sequence[str]) -> list[str]:
    """The line about names that a worker has bound or deleted and the cell's text does not; none if there are none. Pure."""
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return [
        f"{', '.join(names[:_MOST_NAMED])}{more}: not taken from the worker, for trust is set to data and the cell's text does not "
        "bind or delete it"
    ]
