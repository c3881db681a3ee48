"""What a running cell has made so far, as a file: written on the worker in the background, read by a retried cell.

A checkpoint is a zip without compression: ``checkpoint.json`` (number, time, names), ``values/NAME.pkl`` or, for what
torch holds, ``values/NAME.pt`` as ``torch.save`` writes it, and below ``files/`` what was in ``checkpoint_dir``.

The process that runs the cell, and what it starts, finds the place by an environment variable.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import pickle
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

PLACE = "CELLFERRY_CHECKPOINT"
"""Environment variable with the folder of the running cell's checkpoint; set by the guest."""
RUNS = "checkpoints"
"""In a worker's folder: a folder for each run."""
FILES = "files"
SAVED = "saved.zip"
"""The newest checkpoint of the run, whole."""
RESTORED = "restored.zip"
"""The one that the running try began with."""
INDEX = "checkpoint.json"
_OWN = "cellferry-checkpoint-"
_TORCH_DEPTH = 3


def place() -> Path:
    """The folder of the running cell's checkpoint; outside of a worker a temporary one, removed with this process."""
    told = os.environ.get(PLACE)
    return Path(told) if told else _own(os.getpid())


@cache
def _own(_pid: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=_OWN))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class CheckpointPath(type(Path())):  # type: ignore[misc]
    """``cellferry.checkpoint_dir`` and what lies in it. When it travels, it means the same place at the other end."""

    def __reduce__(self) -> Any:
        for folder in (self, *self.parents):
            if folder.name == FILES and (folder.parent.parent.name == RUNS or folder.parent.name.startswith(_OWN)):
                return _at, self.relative_to(folder).parts
        return Path, (str(self),)


def _at(*parts: str) -> Path:
    return checkpoint_dir().joinpath(*parts)


def checkpoint_dir() -> Path:
    """The folder whose content is saved with the cell's checkpoints, and is there again when the cell is retried."""
    folder = place() / FILES
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return CheckpointPath(folder)


def restored() -> Mapping[str, Any]:
    """What the last checkpoint of the running cell holds, name -> value; empty on a cell's first try, and at home."""
    archive = place() / RESTORED
    return _opened(str(archive)) if os.environ.get(PLACE) and archive.exists() else {}


@cache
def _opened(archive: str) -> Restored:
    return Restored(Path(archive))


class Restored(Mapping[str, Any]):
    """Values of a checkpoint, each made when it is first asked for. ``saved_unix_s``: when they were saved."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._made: dict[str, Any] = {}
        index = read_index(archive)
        self._members: dict[str, str] = index["values"]
        self.number, self.saved_unix_s = int(index["number"]), float(index["at_unix_s"])

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            member = self._members[name]
            with zipfile.ZipFile(self._archive) as archive:
                self._made[name] = _load(member, archive.read(member))
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"<restored from checkpoint {self.number}: {', '.join(self) or 'no names'}>"

    def __reduce__(self) -> Any:
        return dict, ()  # elsewhere there is nothing to restore


def read_index(archive: Path) -> dict[str, Any]:
    """``number``, ``at_unix_s``, ``values`` (name -> member) of a checkpoint. Raises OSError or ValueError for what is none."""
    try:
        with zipfile.ZipFile(archive) as opened:
            index: dict[str, Any] = json.loads(opened.read(INDEX))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{archive.name} is no checkpoint: {error}") from error
    return index


def dump(name: str, value: Any) -> tuple[str, bytes]:
    """Member name and bytes of one value. One call of the C pickler where that is possible, so that no other thread changes
    the value meanwhile. Raises whatever pickling raises."""
    if holds_torch(value):
        return f"values/{name}.pt", _torch_bytes(value)
    try:
        data = pickle.dumps(value, protocol=5)
        if b"__main__" not in data:
            return f"values/{name}.pkl", data
    except (pickle.PicklingError, AttributeError, TypeError):
        pass  # a class or function of the notebook: by value, then
    import cloudpickle

    return f"values/{name}.pkl", cloudpickle.dumps(value, protocol=5)


def _load(member: str, data: bytes) -> Any:
    if member.endswith(".pt"):
        import torch

        where = None if torch.cuda.is_available() else "cpu"
        return torch.load(io.BytesIO(data), map_location=where, weights_only=False)
    return pickle.loads(data)


def holds_torch(value: Any) -> bool:
    """Whether ``torch.save`` is the way to write it: a tensor, module or optimizer, or a dict or list that holds one."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "nn"):
        return False
    return _holds(value, (torch.Tensor, torch.nn.Module, torch.optim.Optimizer), _TORCH_DEPTH)


def _holds(value: Any, kinds: tuple[type, ...], depth: int) -> bool:
    kind = type(value)
    if issubclass(kind, kinds):
        return True
    if depth and issubclass(kind, (dict, list, tuple)):
        inner = dict.values(value) if issubclass(kind, dict) else value
        return any(_holds(each, kinds, depth - 1) for each in list(inner)[:1000])
    return False


def _torch_bytes(value: Any) -> bytes:
    import cloudpickle
    import torch

    out = io.BytesIO()
    torch.save(value, out)  # in torch's own protocol: what it takes for data alone it reads without more ado
    data = out.getvalue()
    if b"__main__" in data[: 4 << 20]:  # a module whose class the notebook defines: by value
        out = io.BytesIO()
        torch.save(value, out, pickle_module=cloudpickle, pickle_protocol=4)
        data = out.getvalue()
    return data


def add_file(archive: zipfile.ZipFile, path: Path, name: str) -> tuple[int, int]:
    """Write one file of ``checkpoint_dir``; returns its time and bytes. Raises OSError, also when it changed meanwhile."""
    before = path.stat()
    with path.open("rb") as source, archive.open(f"{FILES}/{name}", "w", force_zip64=True) as out:
        shutil.copyfileobj(source, out, 1 << 20)
        after = os.fstat(source.fileno())
    stamp = (after.st_mtime_ns, after.st_size)
    if (before.st_mtime_ns, before.st_size) != stamp:
        raise OSError(f"{name} was written to meanwhile")
    return stamp


def unpack_files(archive: Path, folder: Path) -> None:
    """Make ``folder`` hold exactly the files of a checkpoint. Raises OSError, ValueError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            target = folder / info.filename.removeprefix(f"{FILES}/")
            if not info.filename.startswith(f"{FILES}/") or info.is_dir():
                continue
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{info.filename} would lie outside of the checkpoint")
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(info) as source, target.open("wb") as out:
                _copy(source, out)


def _copy(source: Any, out: BinaryIO) -> None:
    shutil.copyfileobj(source, out, 1 << 20)
