"""Files that a worker offers, looked at one after the other: what is here under each name, and where it is to lie."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cellferry.link.artifacts import Store
from cellferry.link.beneath import Place, Stamp, as_it_came, mark_came, stamp_of
from cellferry.link.chunked import Coming
from cellferry.link.never_sent import is_litter
from cellferry.link.progress import Progress
from cellferry.link.taking import (
    EARLIER,
    MOST_FILES,
    Here,
    How,
    Stays,
    Words,
    here_line,
    how,
    some,
    stayed_line,
    why_it_stays,
)
from cellferry.screen import Screen


def offered(files: Iterable[Mapping[str, Any]], *, litter: bool = False) -> dict[str, int]:
    """Names and bytes of the files that a worker says it has, without what is no file's name or size. Pure."""
    found: dict[str, int] = {}
    for file in files:
        name, size = file.get("path"), file.get("size")
        if type(name) is str and type(size) is int and size >= 0 and (litter or not is_litter(name)):
            found[name] = size
    return found


class Arrivals:
    """The files that come home together. ``agreed``: see ``taking.how``; ``left_bytes``: so many at most, None for no limit."""

    def __init__(
        self, folder: Path, agreed: Mapping[str, Stamp], words: Words, *, data_only: bool, left_bytes: int | None
    ) -> None:
        self.coming: list[Coming] = []
        self._folder, self._agreed, self._words = folder, agreed, words
        self._data_only, self._left_bytes = data_only, left_bytes
        self._stay: dict[Stays, list[str]] = {}
        self._said: list[str] = []
        self._too_many: list[str] = []
        self._taken: set[Path] = set()

    def add(self, name: str, size: int) -> None:
        """Decide about one file."""
        why = why_it_stays(name, self._words, data_only=self._data_only)
        if why is None and self._left_bytes is not None and size > self._left_bytes:
            why = Stays.LARGE
        if why is not None:
            self._stay.setdefault(why, []).append(stayed_line(name, why, size))
            return
        if len(self.coming) >= MOST_FILES:
            self._too_many.append(name)
            return
        try:
            file = self._placed(name, size)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                self._stay.setdefault(Stays.LINK, []).append(stayed_line(name, Stays.LINK))
            else:
                self._said.append(f"{name} stayed on the worker: it cannot lie here ({exc.strerror})")
            return
        self._taken.add(file.place.path)
        self.coming.append(file)
        if self._left_bytes is not None:
            self._left_bytes -= size

    def lines(self) -> list[str]:
        """What is to be said of files that stayed, and of files that were here."""
        failed = [
            f"{file.name} could not be written here ({file.failed}); try again: %remote get {file.name}"
            for file in self.coming if file.failed
        ]  # fmt: skip
        lines = [line for group in (*self._stay.values(), self._said, failed) for line in some(group)]
        if self._too_many:
            lines.append(
                f"{len(self._too_many)} more files stayed on the worker: at most {MOST_FILES} come home at once; "
                f"bring them: %remote get {self._too_many[0]}"
            )
        return lines

    def _placed(self, name: str, size: int) -> Coming:
        place = Place(self._folder, name)
        if self._words.exactly(name):  # the user's own path: links of the user's lead where they lead
            above = Path(os.path.realpath((self._folder / name).parent))
            place = Place(above, PurePosixPath(name).name)
        here = _here(place)
        agreed = self._agreed.get(name)
        what = how(name, here, agreed, self._words, data_only=self._data_only)
        keep, other = None, place
        if what is How.BESIDE:
            other = place = self._free(place, ".remote-{}")
        elif what is How.KEPT_EARLIER:
            other = keep = self._earlier(name)
        line = here_line(name, what, here, agreed, os.path.relpath(other.path, self._folder))
        if line:
            self._said.append(line)
        return Coming(name, size, place, keep)

    def _earlier(self, name: str) -> Place:
        ignore = Place(self._folder, f"{EARLIER}/.gitignore")
        if ignore.look() is None:
            with ignore.open(os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
                file.write(b"*\n")
        place = Place(self._folder, f"{EARLIER}/{name}")
        return place if place.look() is None else self._free(place, "~{}")

    def _free(self, place: Place, form: str) -> Place:
        """The first name like this one that nothing has."""
        path, count = PurePosixPath(place.name), 1
        while True:
            other = place.beside(f"{path.stem}{form.format(count)}{path.suffix}")
            if other.look() is None and other.path not in self._taken:
                return other
            count += 1


def from_store(
    store: Store, sizes: Mapping[str, int], folder: Path, pattern: str, screen: Screen, *, data_only: bool
) -> list[str]:  # fmt: skip
    """Bring files of a store home that ``%remote get`` means, by the rules for those of a worker: workers wrote them.

    Returns their names here. Raises LinkError, DiskFull, OSError.
    """
    words = Words(time.time_ns(), get=os.path.normpath(pattern))
    arrivals = Arrivals(folder, {}, words, data_only=data_only, left_bytes=None)
    for name, size in sizes.items():
        if words.wants(name):
            arrivals.add(name, size)
    progress = Progress(f"files from {store.url}", sum(file.size for file in arrivals.coming), screen.progress)
    try:
        for file in arrivals.coming:
            if file.keep is not None:
                file.place.keep_at(file.keep)
            with file.place.folder(make=True) as at:
                store.fetch(file.name, Path(f"/proc/self/fd/{at}", file.place.last), progress.moved)
            with file.place.open() as whole:
                mark_came(whole)
    finally:
        progress.done()
    for line in arrivals.lines():
        screen.note(line)
    return [os.path.relpath(file.place.path, folder) for file in arrivals.coming]


def _here(place: Place) -> Here:
    found = place.look()
    if found is None:
        return Here()
    if not stat.S_ISREG(found.st_mode):
        return Here(odd=True)
    return Here(stamp_of(found), came=as_it_came(place))
