"""What a cell that runs everywhere has set up in this kernel's shell: both sides did it by themselves, so no client's cell undoes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellferry.guest.door import Link


class SharedShell:
    """What a ``Door`` knows of the one shell that all its links share."""

    links: list[Link]
    shell_entries: Mapping[Any, Any] = {}
    """What every link takes for agreed when it is made (``parcels.shell_state``)."""

    def shell_set_up(self, entries: Mapping[Any, Any]) -> None:
        """These have been made here and at home alike."""
        self.shell_entries = {**self.shell_entries, **entries}
        for link in self.links:
            link.cells.shell_state.agree(entries, entries)
