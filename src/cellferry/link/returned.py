"""What came back for a cell, a fetch or a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cellferry.parcels.parcel import Arrived
from cellferry.parcels.plain_parcel import PlainArrived


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
