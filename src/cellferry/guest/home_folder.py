"""The notebook's folder as a cell elsewhere sees it: what is listed is asked from home, and fetched when it is opened.

One question of one cell is under way at a time; the answers come in the thread that reads the link. What Python itself calls
(``guest.looking``) leads here. See docs/decisions/016.
"""

from __future__ import annotations

import errno
import itertools
import os
import posix
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cellferry.guest.files import WORK, WorkFiles
from cellferry.guest.questions import answered

_INTERRUPT_S = 5.0
_SMALL_BYTES, _MOST_SMALL_BYTES, _MOST_SMALL = 1 << 20, 16 << 20, 1000
"""What a program is given before it starts, since nobody sees what it opens: files of this size, so much and so many of them."""
_MOST_NAMED = 3
_OURS = "cellferry-"
"""How the names of this package's own threads begin: what they open is no business of the cell's."""


@dataclass(frozen=True)
class Row:
    """A file at home that is not here: ``size`` in bytes."""

    name: str
    size: int
    mtime_ns: int
    executable: bool


@dataclass
class Listing:
    """What there is at home: files by their path and by their folder; ``folders`` as paths, the upper ones first."""

    files: dict[str, Row] = field(default_factory=dict)
    inside: dict[str, dict[str, Row]] = field(default_factory=dict)
    folders: Sequence[str] = ()

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Listing:
        found = cls(folders=answer["folders"])
        for name, size, mtime_ns, executable in answer["files"]:
            folder, _slash, last = name.rpartition("/")
            found.files[name] = found.inside.setdefault(folder, {})[last] = Row(name, size, mtime_ns, executable)
        return found


class HomeFolder:
    """For one link. ``gone``: what a cell has removed here, and how it was at home then (None: not known yet): it stays away
    until it changes there."""

    def __init__(self, link: Any, files: WorkFiles) -> None:
        self.gone: dict[str, Row | None] = {}
        self._link, self._files = link, files
        self._around = os.path.realpath(files.around)
        self._root = f"{self._around}/{WORK}"
        self._made: set[str] = set()
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._busy = 0
        self._pid = os.getpid()
        self._running = False
        self._nobody = ""
        self._listing: Listing | None = None
        self._asked: set[str] = set()
        self._looked_at: dict[str, Row] = {}
        self._said: set[str] = set()

    # -- the cell --------------------------------------------------------------------------------------------------

    def begin(self, nobody: str) -> None:
        """A cell begins; ``nobody``: why the notebook will not answer, "" if it will."""
        self._listing, self._running, self._nobody = None, True, nobody
        self._asked.clear()
        self._looked_at.clear()
        self._said.clear()

    def end(self, failed: str) -> None:
        """The cell is over, and with it a question of one of its threads. ``failed``: the type of its error, "" if there was
        none."""
        self._running = False
        with self._lock:
            names = [row.name for row in self._looked_at.values() if self._is_away(row)]
        if names and failed in ("FileNotFoundError", "OSError", "IOException"):
            self._say(
                f"at home, and not here: {_some(names)}. What a library opens past Python is not fetched by itself: "
                f"%%remote files={names[0]}"
            )

    def answered(self, meta: dict[str, Any]) -> None:
        """An answer has come; called by the thread that reads the link. Files that came with it get their names."""
        if "rows" in meta:
            meta["failed"] = self._files.placed(meta["rows"])
            for row in meta["rows"]:
                self.gone.pop(row[0], None)
        self._answers.put(meta)

    # -- what is asked of it ---------------------------------------------------------------------------------------

    def name_of(self, path: Any) -> str | None:
        """A path below the working directory, or up to three folders above it, relative to it ("": itself). None for others,
        and where nothing is to be asked: another process, this package's own threads, a question under way."""
        if not self._running or os.getpid() != self._pid or self._busy == threading.get_ident():
            return None
        return None if threading.current_thread().name.startswith(_OURS) else self._relative(path)

    def _relative(self, path: Any) -> str | None:
        try:
            text = os.fsdecode(path)
            full = os.path.normpath(text if text.startswith("/") else f"{posix.getcwd()}/{text}")
        except (TypeError, OSError, ValueError):
            return None
        if full == self._root:
            return ""
        if full.startswith(self._root + "/"):
            return full[len(self._root) + 1 :]
        return os.path.relpath(full, self._root) if full.startswith(self._around + "/") else None

    def away(self, path: Any) -> Row | None:
        """The file at home that ``path`` names, if it is not here."""
        name = self.name_of(path)
        row = self.listing().files.get(name) if name else None
        if row is None or not self._is_away(row):
            return None
        self._looked_at[row.name] = row
        return row

    def inside(self, path: Any) -> list[Row]:
        """The files at home in this folder that are not here. What is a folder at home is one here from now on."""
        name = self.name_of(path)
        if name is None:
            return []
        rows = self.listing().inside.get(name, {})
        found = [row for row in rows.values() if self._is_away(row)]
        self._looked_at.update({row.name: row for row in found})
        return found

    def below(self, path: Any) -> list[Row]:
        """The files at home in this folder and its folders that are not here."""
        return [row for row in self._all_below(path) if self._is_away(row)]

    def removed_below(self, path: Any) -> None:
        """The cell removes this folder, with all that is in it."""
        self.gone |= {row.name: row for row in self._all_below(path)}

    def _all_below(self, path: Any) -> list[Row]:
        name = self.name_of(path)
        if name is None:
            return []
        begins = name + "/" if name else ""
        return [row for row in self.listing().files.values() if row.name.startswith(begins)]

    def removed(self, path: Any) -> None:
        """The cell removes or renames this, here."""
        name = self.name_of(path)
        if name:
            self.gone[name] = self._listing.files.get(name) if self._listing is not None else None

    def listing(self) -> Listing:
        """What there is at home, asked once in a cell; nothing where nobody answers."""
        if self._listing is None:
            with self._lock:
                if self._listing is None:
                    self._listing = self._ask_listing()
        return self._listing

    def need(self, path: Any, *, creates: bool = False) -> None:
        """A file that is not here is about to be opened: have it, if it is at home. Raises FileNotFoundError where it cannot be
        had, with the reason; not if nobody knows it and the opening ``creates`` it."""
        if os.getpid() != self._pid:
            self._need_in_a_child(path)
        name = self.name_of(path)
        if not name:
            return
        if name.startswith("../"):
            self._need_above(name)
        elif (row := self.listing().files.get(name)) is not None and self._is_away(row):
            self.bring([name])
        elif self._nobody and not creates:
            raise FileNotFoundError(
                errno.ENOENT, f"No such file or directory ({self._nobody}: send it with files={name})", path
            )

    def bring(self, names: Sequence[str]) -> None:
        """Have these files, or raise FileNotFoundError with the reason for one that is not to be had."""
        refused = self._fetch(names)
        for name, why in refused.items():
            raise FileNotFoundError(errno.ENOENT, f"{name} is beside the notebook and was not fetched: {why}", name)

    def before_program(self, words: Iterable[str], cwd: Any = None) -> None:
        """A program is about to start in ``cwd``: it gets the files that its ``words`` name, and the small ones."""
        if self.name_of(cwd or ".") is None:
            return
        missing = [row for row in self.listing().files.values() if self._is_away(row)]
        if not missing:
            return
        named = {
            name for word in words if (name := self.name_of(word if cwd is None else f"{os.fsdecode(cwd)}/{word}"))
        }
        going = [row.name for row in missing if row.name in named]
        left_bytes = _MOST_SMALL_BYTES
        for row in sorted(missing, key=lambda row: row.size)[:_MOST_SMALL]:
            if row.name not in named and row.size <= min(_SMALL_BYTES, left_bytes):
                going.append(row.name)
                left_bytes -= row.size
        self._fetch([name for name in going if name not in self._asked])
        self._asked.update(going)
        rest = [row.name for row in missing if self._is_away(row)]
        if rest:
            self._say(f"not fetched for the program: {_some(rest)}; what it needs of them: %%remote files={rest[0]}")

    # -- the questions ---------------------------------------------------------------------------------------------

    def _is_away(self, row: Row) -> bool:
        if row.name in self.gone and self.gone[row.name] in (None, row):
            return False
        path = f"{self._root}/{row.name}"
        return not _is_here(path) and _is_here(path.rpartition("/")[0])  # else its folder was removed here

    def _need_in_a_child(self, path: Any) -> None:
        """A process that the cell has forked has no link; but it knows what its parent has seen of the listing."""
        name = self._relative(path)
        if name and self._listing is not None and name in self._listing.files:
            why = f"a process that a cell has started cannot fetch it; send it: %%remote files={name}"
            raise FileNotFoundError(errno.ENOENT, f"{name} is beside the notebook: {why}", name)

    def _need_above(self, name: str) -> None:
        """A file outside of the notebook's folder: nobody lists these, so each is asked for by its name, once in a cell."""
        if name not in self._asked:
            self._asked.add(name)
            self.bring([name])

    def _ask_listing(self) -> Listing:
        answer = self._ask({"op": "inventory"})
        if answer is None:
            return Listing()
        found = Listing.of(answer)
        self.gone |= dict.fromkeys(self._files.removed - self.gone.keys())
        self._files.removed.clear()
        self.gone |= {name: found.files.get(name) for name, row in self.gone.items() if row is None}
        with self._quietly():
            for name in found.folders:
                if name not in self._made:
                    self._made.add(name)
                    try:
                        posix.mkdir(f"{self._root}/{name}")
                    except OSError:
                        continue  # it is here, or a file of that name
        if not answer["complete"]:
            self._say(
                f"the notebook's folder has more than {len(found.files)} files: listings here show no others; files=NAME sends one"
            )
        return found

    def _fetch(self, names: Sequence[str]) -> dict[str, str]:
        """Have these files; returns why others are not to be had. Raises OSError for one that cannot be written here."""
        if not names:
            return {}
        with self._lock:
            names = [
                name for name in names if not _is_here(f"{self._root}/{name}")
            ]  # another thread may have asked meanwhile
            answer = self._ask({"op": "files", "names": names}) if names else {"refused": {}, "failed": {}}
        if answer is None:
            return dict.fromkeys(names, self._nobody)
        if answer.get("interrupted") and threading.current_thread() is threading.main_thread():
            time.sleep(_INTERRUPT_S)  # the interrupt itself is on its way, and ends this
        for name, (number, text) in answer["failed"].items():
            raise OSError(number or errno.EIO, f"{name} could not be written on the worker: {text}", name)
        refused: dict[str, str] = answer["refused"]
        return refused

    def _ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, or None where there is none to be had; ``_nobody`` says why. With the lock held."""
        if not self._running or self._nobody:
            return None
        number = next(self._numbers)
        with self._quietly():
            self._link.send({"number": number, **question})
            answer = answered(
                self._link, self._answers, lambda answer: bool(answer["number"] == number), lambda: self._running
            )
        if answer is None:
            self._nobody = "the notebook is not connected"
        return answer

    def _quietly(self) -> _Quietly:
        return _Quietly(self)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._link.send({"op": "say", "text": text})


class _Quietly:
    """While this package itself opens files or makes folders in the cell's thread."""

    def __init__(self, folder: HomeFolder) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._before, self._folder._busy = self._folder._busy, threading.get_ident()

    def __exit__(self, *_error: object) -> None:
        self._folder._busy = self._before


def _is_here(path: str) -> bool:
    try:
        posix.lstat(path)
    except OSError:
        return False
    return True


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
