"""The notebook's side of a worker's questions about the folder that the cell was written in: what is there, and its files.

Answered in the thread that waits for the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cellferry.link.files import FileSync
from cellferry.link.session import KernelLink


class AtHome:
    """Answers for one worker (``guest.home_folder``): names and sizes of all that is there, the content of some files.
    ``folder``: the notebook's at the moment."""

    def __init__(self, files: FileSync, link: KernelLink, folder: Callable[[], Path]) -> None:
        self._files, self._link, self._folder = files, link, folder
        link.asked |= {"inventory": self._list, "files": self._give}

    def _list(self, question: dict[str, Any]) -> None:
        try:
            there = self._files.there_are(self._folder())
        except KeyboardInterrupt:
            self._answer(question, files=[], folders=[], complete=True, interrupted=True)
            raise
        self._answer(question, files=there.files, folders=there.folders, complete=there.complete)

    def _give(self, question: dict[str, Any]) -> None:
        try:
            rows, refused = self._files.give(self._link, self._folder(), question["names"])
        except OSError as error:
            self._answer(
                question, rows=[], refused=dict.fromkeys(question["names"], f"it could not be read at home: {error}")
            )
        except KeyboardInterrupt:  # in the middle of a file; whoever asks there may not have been interrupted
            self._answer(
                question, rows=[], refused=dict.fromkeys(question["names"], "it was interrupted"), interrupted=True
            )
            raise
        else:
            self._answer(question, rows=rows, refused=refused)

    def _answer(self, question: dict[str, Any], **what: Any) -> None:
        self._link.tell({"op": "from_home", "number": question["number"], **what})
