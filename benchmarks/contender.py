"""What every contender is: something that is set up, measures steps of rows, and is taken down again."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Samples = dict[str, list[float]]
"""Metric -> values. The end of a metric's name is its unit: ``_s`` seconds, ``_b`` bytes, ``_per_s`` how many a second."""

Step = Callable[..., Samples]


class Contender(Protocol):
    """One way to do the work of the rows. Lives in a process of its own (``benchmarks.host``).

    Modules of contenders import the library they drive only inside ``setup``, since ``cold`` rows time that import.
    """

    steps: Mapping[str, Step]
    """What it can measure: kind of step (``Row.kind``) -> the method that does it once and returns samples."""

    def setup(self) -> None:
        """Start everything, up to the first result. Raises if it cannot."""

    def teardown(self) -> None:
        """End everything that was started; safe to call when ``setup`` failed halfway."""


CONTENDERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "cellferry": ("cellferry_cell:CellferryCell", {"transport": "unix"}),
    "cellferry-tls": ("cellferry_cell:CellferryCell", {"transport": "tls"}),
    "kernel": ("bare_kernel:BareKernel", {}),
    "ipyparallel": ("ipyparallel_peer:IpyparallelPeer", {"curve": False}),
    "ipyparallel-curve": ("ipyparallel_peer:IpyparallelPeer", {"curve": True}),
    "ray": ("ray_peer:RayPeer", {}),
    "dask": ("dask_peer:DaskPeer", {"tls": False}),
    "dask-tls": ("dask_peer:DaskPeer", {"tls": True}),
    "raw-unix": ("raw_unix:RawUnix", {}),
    "environment": ("environments:EnvironmentCell", {}),
    "uv-sync": ("environments:Installer", {"by": "uv"}),
    "machines": ("machines:Machines", {}),
    "cloud": ("cloud:Cloud", {}),
    "pip": ("environments:Installer", {"by": "pip"}),
    "runs": ("runs:Runs", {}),
    "network": ("network:Network", {}),
    "rsync": ("rsync_peer:RsyncPeer", {}),
    "uvloop-tls": ("uvloop_tls:UvloopTls", {}),
}
"""Name -> (``module:Class`` in ``benchmarks.contenders``, keyword arguments of the class)."""


def create(name: str) -> Contender:
    """A contender by its name, not yet set up."""
    target, arguments = CONTENDERS[name]
    module_name, class_name = target.split(":")
    module = importlib.import_module(f"benchmarks.contenders.{module_name}")
    made: Contender = getattr(module, class_name)(**arguments)
    return made


def timed(action: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def timed_each(action: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of ``count`` calls in a row."""
    return [timed(action) for _ in range(count)]


def timed_setup(contender: Contender) -> Samples:
    """A ``cold`` step for libraries: import, start and first result, in a process that has imported nothing yet."""
    return {"first_s": [timed(contender.setup)]}


def same_ends(got: Sequence[float], size: int, turn: int) -> None:
    """Raise unless ``got`` holds the first and last element of ``payload(size, turn)``."""
    count = size // 8
    if tuple(got) != (float(turn * count), float((turn + 1) * count - 1)):
        raise AssertionError(f"wrong content arrived: {tuple(got)} for size {size}, turn {turn}")


def payload(size: int, turn: int) -> Any:
    """A float64 array of ``size`` bytes; no content repeats within or between turns, so nothing can be deduplicated."""
    import numpy as np

    count = size // 8
    return np.arange(turn * count, (turn + 1) * count, dtype="f8")
