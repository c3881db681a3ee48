"""The artifact store: where files that cells write go straight from the worker, and from where they are fetched.

The worker is told what to do with one file at a time (an order, see ``guest.storing``); it gets no keys.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from cellferry.errors import DiskFull, LinkError, PreflightError
from cellferry.link.progress import Progress
from cellferry.link.session import KernelLink
from cellferry.screen import Screen

_BLOCK_BYTES = 1 << 20
_numbers = itertools.count(1)
Moved = Callable[[int], None]
Order = dict[str, Any]
Steps = Generator[tuple[Order, int], dict[str, Any], None]


class Store(Protocol):
    """One place for artifacts. ``url`` has no slash at its end; names are relative to it."""

    url: str

    def orders(self, name: str, size: int) -> Steps:
        """What the worker is to do for one file of ``size`` bytes, step by step, and the bytes of each step.

        A generator: it is sent the worker's answer to each order, and closed when one fails. Raises LinkError when
        the store does not take part.
        """

    def left(self, name: str) -> Order:
        """An order that the worker may carry out later, as often as it likes and whatever the size: write this object."""

    def lent(self, name: str) -> Order:
        """An order to read this object (``guest.storing.fetch``)."""

    def remove(self, folder: str) -> None:
        """Take everything away whose name begins with ``folder`` and a slash; there may be nothing. Raises LinkError."""

    def listing(self) -> dict[str, int]:
        """Name and bytes of what is there. Raises LinkError."""

    def fetch(self, name: str, target: Path, moved: Moved) -> None:
        """Write one file to ``target``, which appears when it is whole; goes on where an earlier try stopped.

        Raises LinkError, OSError."""


def open_store(url: str) -> Store:
    """The store behind an fsspec URL; raises PreflightError if what it needs is not installed, or it is no URL."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        from cellferry.link.store_s3 import S3Store

        return S3Store(url.rstrip("/"))
    if parts.scheme == "file" and parts.path.startswith("/"):
        return FolderStore(url.rstrip("/"))
    if parts.scheme:
        return FsspecStore(url.rstrip("/"))
    raise PreflightError(
        f"c.Cellferry.artifact_store = {url!r} is no URL", 'c.Cellferry.artifact_store = "s3://bucket/prefix"'
    )


def missing_package(url: str, package: str) -> PreflightError:
    """The error for a store whose library is not here."""
    return PreflightError(
        f"c.Cellferry.artifact_store = {url!r} needs {package}, which is not installed here",
        "pip install 'cellferry[artifacts]'",
    )


INTERNAL = frozenset(["results", "checkpoints"])
"""Folders of a store in which only our own code writes."""


def refused_name(name: str) -> str:
    """Why a file of a cell cannot have this name in a store, in words; "" if it can. Pure: no name is repaired."""
    if "\\" in name or any(ord(char) < 32 or ord(char) == 127 for char in name):
        return "a backslash or a control character is in its name"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "its name leads elsewhere"
    if parts[0] in INTERNAL:
        return f"the folder {parts[0]} of a store is for what cellferry itself keeps; write it into another folder"
    return ""


def keep_in_store(store: Store, link: KernelLink, sizes: Mapping[str, int], screen: Screen) -> list[str]:
    """Have the worker put these files into the store; returns lines for the user. What fails stays on the worker."""
    if not sizes:
        return []
    kept: list[str] = []
    notes: list[str] = []
    progress = Progress(f"files to {store.url}", sum(sizes.values()), screen.progress)
    try:
        for name, size in sizes.items():
            try:
                if why := refused_name(name):
                    raise LinkError(why)
                _keep(store, link, name, size, progress.moved)
                kept.append(name)
            except LinkError as exc:
                notes.append(f"{name} stayed on the worker: {exc.what}; bring it: %remote get {name}")
    finally:
        progress.done()
    if len(kept) == 1:
        notes.insert(0, f"stored: {store.url}/{kept[0]}   (here: %remote get {kept[0]})")
    elif kept:
        notes.insert(0, f"stored in {store.url}/: {', '.join(kept)}   (here: %remote get NAME)")
    return notes


def _keep(store: Store, link: KernelLink, name: str, size: int, moved: Moved) -> None:
    steps = store.orders(name, size)
    try:
        order, step_bytes = next(steps)
        while True:
            answer = _carry_out(link, {"path": name, **order})
            moved(step_bytes)
            try:
                order, step_bytes = steps.send(answer)
            except StopIteration:
                return
    finally:
        steps.close()


def _carry_out(link: KernelLink, order: Order) -> dict[str, Any]:
    """One order, done by the worker; raises LinkError with its words."""
    number = next(_numbers)
    link.tell({"op": "store", "number": number, "order": order})
    while True:
        answer = link.wait("stored")[0]
        if answer["number"] == number:
            break
    if answer.get("error"):
        raise LinkError(str(answer["error"]))
    return answer


class FolderStore:
    """``file://``: a folder that this machine and the worker both see."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._folder = Path(unquote(urlsplit(url).path))

    def orders(self, name: str, size: int) -> Steps:
        """See ``Store``."""
        yield {"target": str(self._folder / name)}, size
        try:
            there = (self._folder / name).stat().st_size
        except OSError:
            there = -1
        if there != size:
            raise LinkError(f"the worker wrote it to a {self._folder} that is not the one here")

    def left(self, name: str) -> Order:
        """See ``Store``."""
        return {"target": str(self._folder / name)}

    lent = left

    def remove(self, folder: str) -> None:
        """See ``Store``; what stands around it goes as well, if that is empty then."""
        shutil.rmtree(self._folder / folder, ignore_errors=True)
        with suppress(OSError):
            (self._folder / folder).parent.rmdir()

    def listing(self) -> dict[str, int]:
        """See ``Store``."""
        found = [path for path in self._folder.rglob("*") if path.is_file() and not path.name.endswith("-part")]
        return {str(path.relative_to(self._folder)): path.stat().st_size for path in sorted(found)}

    def fetch(self, name: str, target: Path, moved: Moved) -> None:
        """See ``Store``."""
        source = self._folder / name
        if source.resolve() == target.resolve():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.cellferry-part")
        shutil.copyfile(source, part)
        part.replace(target)
        moved(target.stat().st_size)


class FsspecStore:
    """Any other URL that fsspec knows: the worker writes there by its own fsspec and whatever rights it has itself."""

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise missing_package(url, "fsspec") from None
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as exc:
            raise PreflightError(f"c.Cellferry.artifact_store = {url!r}: {exc}", "pip install what it names") from exc
        self.url = url

    def orders(self, name: str, size: int) -> Steps:
        """See ``Store``."""
        yield {"url": f"{self.url}/{name}"}, size

    def left(self, name: str) -> Order:
        """See ``Store``."""
        return {"url": f"{self.url}/{name}"}

    lent = left

    def remove(self, folder: str) -> None:
        """See ``Store``."""
        try:
            self._fs.rm(f"{self._root}/{folder}", recursive=True)
        except FileNotFoundError:
            pass
        except Exception as exc:
            raise LinkError(f"{self.url}/{folder} cannot be removed: {type(exc).__name__}: {exc}") from exc

    def listing(self) -> dict[str, int]:
        """See ``Store``."""
        try:
            found = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as exc:
            raise LinkError(f"{self.url} cannot be listed: {type(exc).__name__}: {exc}") from exc
        return {str(path)[len(self._root) :].lstrip("/"): int(info["size"] or 0) for path, info in found.items()}

    def fetch(self, name: str, target: Path, moved: Moved) -> None:
        """See ``Store``."""

        def read(at: int) -> Iterator[bytes]:
            with self._fs.open(f"{self._root}/{name}", "rb") as file:
                file.seek(at)
                while block := file.read(_BLOCK_BYTES):
                    yield block

        info = self._fs.info(f"{self._root}/{name}")
        tag = info.get("ETag") or info.get("mtime") or info.get("updated") or ""
        fetch_from(read, int(info["size"] or 0), str(tag), target, moved)


def fetch_from(read: Callable[[int], Iterator[bytes]], size: int, tag: str, target: Path, moved: Moved) -> None:
    """Write ``size`` bytes that ``read(offset)`` gives to ``target``, going on with what an earlier try has left.

    ``tag`` names the version: what is left of another one is not used. Raises LinkError if it ends early, DiskFull.
    """
    import hashlib

    target.parent.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256(f"{tag} {size}".encode()).hexdigest()[:12]
    part = target.with_name(f".{target.name}.{version}.cellferry-part")
    done = part.stat().st_size if part.exists() else 0
    moved(done)
    try:
        with part.open("ab") as out:
            for block in read(done) if done < size else ():
                out.write(block)
                done += len(block)
                moved(len(block))
    except OSError as exc:
        if exc.errno != 28:
            raise
        part.unlink()
        raise DiskFull(
            f"no space is left for {target.name}; it is safe in the store", "make room, then try again"
        ).not_again() from exc
    if done != size:
        raise LinkError(
            f"{target.name} ended after {done} of {size} bytes", f"go on with it: %remote get {target.name}"
        )
    part.replace(target)
