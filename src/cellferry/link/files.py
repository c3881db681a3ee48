"""Files beside the notebook and in the remote working directory: out when a cell names them, home when it wrote them."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cellferry.errors import BadValue, LooksSecret, PreflightError
from cellferry.link.arriving import Arrivals, offered
from cellferry.link.artifacts import Store, keep_in_store, open_store
from cellferry.link.beneath import Stamp, stamp_of, stays_inside
from cellferry.link.chunked import Coming, bring_files, push_files, rows_of, send_files
from cellferry.link.inventory import Inventory, inventory
from cellferry.link.progress import Progress
from cellferry.link.session import KernelLink
from cellferry.link.taking import Words
from cellferry.link.wanted import MOST_UP, Wanted, secret, wanted
from cellferry.parcels.placeholder import human_bytes
from cellferry.screen import Screen

_MOST_NAMED = 3
_MOST_LISTED = 10

_SMALL_BYTES = 64 << 10
"""Larger files are data: they are not searched for credentials."""

Inspect = Callable[[str], str | None]
"""What kind of credential is in a text (``capture.secrets.kind_of_secret``), or None."""


class FileSync:
    """The files that one worker and the notebook's folder have exchanged, and how they looked here then.

    ``store_url``: where files that cells write go instead of home; "": home. Raises PreflightError for one that cannot be
    used.
    """

    def __init__(
        self, limit_bytes: int, screen: Screen, store_url: str = "", *, inspect: Inspect = lambda _text: None,
        data_only: bool = False,
    ) -> None:  # fmt: skip
        self.limit_bytes = limit_bytes
        self.store: Store | None = open_store(store_url) if store_url else None
        self._screen = screen
        self._inspect, self._data_only = inspect, data_only
        self._agreed: dict[str, Stamp] = {}
        self._fetched: dict[str, int] = {}
        self._named: frozenset[str] = frozenset()
        self._asked: frozenset[str] = frozenset()

    def send(self, link: KernelLink, folder: Path, strings: Sequence[str], patterns: Sequence[str]) -> int:
        """Send files that the cell's strings name, and those of ``files=``, unless they are there already.

        Files that are there and have changed here since go along while there is room, whether the cell names them or
        not: the cell may have their names from elsewhere.
        Returns the bytes sent. Raises PreflightError over the limit, BadValue for a pattern that matches nothing or
        names a secret.
        """
        self._fetched = {}
        self._named = frozenset(os.path.normpath(text) for text in strings)
        found = wanted(folder, strings, patterns, self._agreed)
        self._asked |= set(found.asked)
        for line in left_behind(found, self._unseen(link, folder, found.far)):
            self._screen.note(line)
        fresh = self._choose(folder, found)
        if not fresh:
            return 0
        total = sum(size for _mtime, size in fresh.values())
        progress = Progress("files to the worker", total, self._screen.progress)
        try:
            sent = send_files(link, folder, list(fresh), progress.moved)
        finally:
            progress.done()
        self._agreed |= fresh
        return sent

    def _choose(self, folder: Path, found: Wanted) -> dict[str, Stamp]:
        """What is to be sent, with its stamp; raises PreflightError over the limit, which counts what is not asked for."""
        fresh = self._changed(folder, found.asked)
        named = {n: s for n, s in self._changed(folder, found.named).items() if n not in fresh}
        total = sum(size for _mtime, size in named.values())
        if total > self.limit_bytes:
            raise _too_large(named, total, self.limit_bytes)
        fresh |= named
        others = [name for name in self._agreed if name not in fresh and (folder / name).is_file()]
        for group in [*found.perhaps, *([name] for name in others)]:
            # what both sides have had may have become a secret since
            more = {n: s for n, s in self._changed(folder, group).items() if n not in fresh and not secret(folder, n)}
            size = sum(size for _mtime, size in more.values())
            if total + size <= self.limit_bytes:
                fresh |= more
                total += size
        return self._without_credentials(folder, fresh, found)

    def _without_credentials(self, folder: Path, fresh: dict[str, Stamp], found: Wanted) -> dict[str, Stamp]:
        """Raises LooksSecret for a small file with a credential in it that the cell names, but nobody asked for; one that
        would go because of its folder stays."""
        kept = dict(fresh)
        for name, (_mtime, size) in fresh.items():
            kind = self._inspect(_text(folder / name)) if size <= _SMALL_BYTES and name not in found.asked else None
            if kind is None:
                continue
            if name in found.named:
                raise LooksSecret(
                    f"the file {name}, which this cell names, seems to hold a credential ({kind}); it was not sent",
                    f"keep it in an environment variable and name that: %%remote secrets=NAME; or, if it may go: files={name}",
                )
            self._screen.note(f"{name} was not sent: it seems to hold a credential ({kind}); if it may go: files={name}")
            del kept[name]
        return kept

    def _changed(self, folder: Path, names: Sequence[str]) -> dict[str, Stamp]:
        stamps = {name: _stamp(folder / name) for name in dict.fromkeys(names)}
        return {name: stamp for name, stamp in stamps.items() if self._agreed.get(name) != stamp}

    def there_are(self, folder: Path) -> Inventory:
        """What is in the notebook's folder, without what would not travel."""
        return inventory(folder, self._agreed)

    def give(self, link: KernelLink, folder: Path, names: Sequence[str]) -> tuple[list[list[Any]], dict[str, str]]:
        """Send files that the running cell opens, or lists for a program, by the rules for those that it names.

        Returns how the worker is to leave each, and why others were not sent. Raises OSError.
        """
        found = wanted(folder, names, (), self._agreed)
        refused = {name: f"{why}; files with secrets never travel" for name, why in found.secret.items()}
        refused |= {name: f".gitignore names it; send it: %%remote files={name}" for name in found.ignored}
        going: dict[str, Stamp] = {}
        left = self.limit_bytes - sum(self._fetched.values())
        for name in dict.fromkeys(found.named):
            stamp = _stamp(folder / name)
            kind = self._inspect(_text(folder / name)) if stamp[1] <= _SMALL_BYTES else None
            if kind is not None:
                refused[name] = f"it seems to hold a credential ({kind}); if it may go: %%remote files={name}"
            elif stamp[1] > left:
                refused[name] = f"with its {human_bytes(stamp[1])} this cell is over file_limit; send it: %%remote files={name}"
            else:
                going[name] = stamp
                left -= stamp[1]
        progress = Progress("files to the worker", sum(size for _mtime, size in going.values()), self._screen.progress)
        try:
            push_files(link, folder, list(going), progress.moved)
        finally:
            progress.done()
        rows = rows_of(folder, list(going))
        self._agreed |= {name: (row[2], row[1]) for name, row in zip(going, rows, strict=True)}
        self._fetched |= {name: row[1] for name, row in zip(going, rows, strict=True)}
        return rows, refused

    def _unseen(self, link: KernelLink, folder: Path, far: Sequence[str]) -> list[str]:
        """Those of the files outside of the notebook's folder that the worker does not see as this machine does."""
        if not far:
            return []
        link.tell({"op": "seen", "paths": list(far)})
        sizes = link.wait("seen")[0]["sizes"]
        return [path for path, size in zip(far, sizes, strict=True) if (folder / path).stat().st_size != size]

    def bring(
        self, link: KernelLink, folder: Path, files: Sequence[dict[str, Any]], started_ns: int
    ) -> tuple[list[str], list[str]]:
        """Write files that the cell made beside the notebook, or into the store. Returns their names here and notes.

        Which of them, and what becomes of a file that has the name here, is in ``taking``. Raises DiskFull, ParcelError.
        """
        sizes = offered(files)
        notes = fetched_line(self._fetched)
        self._fetched = {}
        if self.store is not None:
            return [], notes + keep_in_store(self.store, link, sizes, self._screen)
        words = Words(started_ns, self._named, self._asked)
        came, lines = self._take(link, folder, sizes, words, self.limit_bytes)
        return came, notes + lines

    def get(self, link: KernelLink, folder: Path, pattern: str) -> list[str]:
        """Bring files home whatever their size, in place of those here; returns their names here.

        What an earlier try has brought is not brought again. Raises DiskFull.
        """
        words = Words(time.time_ns(), get=os.path.normpath(pattern))
        sizes = {name: size for name, size in self.listing(link).items() if words.wants(name)}
        came, lines = self._take(link, folder, sizes, words, None)
        for line in lines:
            self._screen.note(line)
        return came

    def _take(
        self, link: KernelLink, folder: Path, sizes: Mapping[str, int], words: Words, limit_bytes: int | None
    ) -> tuple[list[str], list[str]]:
        """Bring those home that may come; names here, and lines about the others."""
        arrivals = Arrivals(folder, self._agreed, words, data_only=self._data_only, left_bytes=limit_bytes)
        for name, size in sizes.items():
            arrivals.add(name, size)
        self._bring(link, arrivals.coming)
        whole = [file for file in arrivals.coming if not file.failed]
        for file in whole:
            if file.place.path == folder / file.name and (found := file.place.look()) is not None:
                self._agreed[file.name] = stamp_of(found)
        return [os.path.relpath(file.place.path, folder) for file in whole], arrivals.lines()

    def listing(self, link: KernelLink) -> dict[str, int]:
        """Every file in the worker's working directory, with its bytes."""
        link.tell({"op": "listing"})
        files = offered(link.wait("listing")[0]["files"], litter=True)
        return {name: size for name, size in files.items() if stays_inside(name)}

    def _bring(self, link: KernelLink, coming: Sequence[Coming]) -> None:
        if not coming:
            return
        progress = Progress("files from the worker", sum(file.size for file in coming), self._screen.progress)
        try:
            bring_files(link, coming, progress.moved)
        finally:
            progress.done()


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return ""


def left_behind(found: Wanted, unseen: Sequence[str]) -> list[str]:
    """One line for each reason for which files that the cell names do not travel. Pure."""
    lines = [f"{name} was not sent: {why}; files with secrets never travel" for name, why in found.secret.items()]
    if found.ignored:
        more = len(found.ignored) - _MOST_NAMED
        names = ", ".join(found.ignored[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"not sent, for .gitignore names them: {names}; send them: files={found.ignored[0]}")
    lines += [
        f"{path} is here but not on the worker, which mirrors the notebook's folder and {MOST_UP} above it; "
        f"link it beside the notebook: !ln -s {path} ."
        for path in unseen
    ]
    return lines


def fetched_line(fetched: Mapping[str, int]) -> list[str]:
    """The line about files that the cell opened and that were fetched for it; none if there were none. Pure."""
    if not fetched:
        return []
    first = ", ".join(list(fetched)[:_MOST_NAMED])
    more = f" and {len(fetched) - _MOST_NAMED} more" if len(fetched) > _MOST_NAMED else ""
    return [f"fetched {first}{more} ({human_bytes(sum(fetched.values()))}) from the notebook's folder"]


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _too_large(files: Mapping[str, Stamp], total: int, limit: int) -> PreflightError:
    top = sorted(files.items(), key=lambda item: -item[1][1])[:5]
    rows = ", ".join(f"{name} {human_bytes(stamp[1])}" for name, stamp in top)
    return PreflightError(
        f"the files that this cell names are {human_bytes(total)}, over file_limit ({human_bytes(limit)}): {rows}",
        f"%%remote files={top[0][0]}   sends what you name, whatever its size; so does %remote put {top[0][0]}; "
        "or let the cell read it from a URL (s3://, https://)",
    )


def not_found(path: str, places: Mapping[str, Mapping[str, int]]) -> BadValue:
    """The error for a name that no worker and no store has; it lists what is there, the likeliest first.

    ``places``: where -> name -> bytes.
    """
    rows = [
        (name, f"{name} ({human_bytes(size)}, {place})")
        for place, files in places.items()
        for name, size in files.items()
    ]
    close = difflib.get_close_matches(path, [name for name, _text in rows], _MOST_LISTED, 0.5)
    texts = [
        text for _name, text in sorted(rows, key=lambda row: close.index(row[0]) if row[0] in close else len(close))
    ]
    more = f" and {len(texts) - _MOST_LISTED} more" if len(texts) > _MOST_LISTED else ""
    there = f"there is: {', '.join(texts[:_MOST_LISTED])}{more}" if texts else "there are no files"
    return BadValue(f"no file {path} on a worker or in the artifact store; {there}", "%remote get NAME")
