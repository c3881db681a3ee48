"""One worker in use: the connection, and what it already has of the notebook."""

from __future__ import annotations

from dataclasses import dataclass, field

from cellferry.link.files import FileSync
from cellferry.link.session import KernelLink
from cellferry.link.sources import SourceSync
from cellferry.model import Worker
from cellferry.parcels.ambient import Ambient
from cellferry.parcels.heap import Heap


@dataclass
class There:
    """One worker in use. ``names``: the notebook's names bound there."""

    worker: Worker
    link: KernelLink
    files: FileSync
    sources: SourceSync
    names: set[str] = field(default_factory=set)
    ambient: Ambient = field(default_factory=Ambient)
    cells: set[str] = field(default_factory=set)
    """File names of notebook cells whose text the worker has, for tracebacks and ``inspect``."""

    @property
    def heap(self) -> Heap:
        return self.link.heap
