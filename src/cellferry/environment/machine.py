"""What the machines that may run a cell mean for its packages: their platform, and which of PyTorch's builds they can run.

PyTorch's builds lie on an index of its own, one for each CUDA version; uv knows it (``--torch-backend``).
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from cellferry.environment.lock import Described, Target, Unsolved
from cellferry.errors import EnvironmentFailed
from cellferry.model import Offer

TORCH = frozenset({"torch", "torchaudio", "torchdata", "torchtext", "torchvision", "triton"})
"""Packages that uv takes from PyTorch's index, as far as notebooks import them."""
INDEX_HOST = "download.pytorch.org"

_CUDA = (
    ((580, 65), "cu130"), ((570, 26), "cu128"), ((560, 28), "cu126"), ((550, 54), "cu124"), ((530, 30), "cu121"),
    ((520, 61), "cu118"),
)  # fmt: skip
"""Least NVIDIA driver on Linux for a CUDA toolkit, newest first: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
(table 3, "CUDA Toolkit and Corresponding Driver Versions"); the names are those of PyTorch's builds."""


def torch_builds(driver: str) -> tuple[str, ...]:
    """Which of PyTorch's builds a worker can run, the best one first: ``driver`` is what ``nvidia-smi`` says there, ""
    without a GPU. A driver runs what was built for an older CUDA too."""
    return tuple(name for least, name in _CUDA if _version(driver) >= least) or ("cpu",)


def _version(driver: str) -> tuple[int, int]:
    major, minor = (int(part) if part.isdigit() else 0 for part in (*driver.split("."), "0")[:2])
    return major, minor


def builds_for(offers: Sequence[Offer]) -> tuple[str, ...]:
    """The builds that each of these machines can run, the best one first; () to leave it to the indexes.

    They are left alone where nothing is known, and on this machine, which runs what is installed here.
    """
    if not offers or any(offer.provider == "local" or offer.simulated for offer in offers):
        return ()
    if any(not offer.gpu_count for offer in offers):
        return ("cpu",)
    drivers = [offer.driver for offer in offers]
    return torch_builds(min(drivers, key=_version)) if all(drivers) else ()


def platform_for(offers: Sequence[Offer]) -> str:
    """uv's name of the platform of these machines; "" for one like this machine."""
    away = [offer for offer in offers if offer.provider != "local" and not offer.simulated]
    here = platform.machine() if sys.platform == "linux" else ""
    if not away or any(offer.arch == here for offer in away):
        return ""
    return f"{away[0].arch}-unknown-linux-gnu"


def lock_with_torch(make: Callable[[Target], Described], target: Target, builds: Sequence[str]) -> tuple[Described, Target]:
    """``make`` with the first of PyTorch's builds that has what is asked for, and the target that this was.

    Where PyTorch's index cannot be reached, the indexes that can are asked, and a line says so. Raises EnvironmentFailed
    where no build will do, and what ``make`` raises.
    """
    failed = None
    for build in builds:
        chosen = replace(target, torch_backend=build)
        try:
            return make(chosen), chosen
        except Unsolved as unsolved:
            if INDEX_HOST in unsolved.said and "Failed to fetch" in unsolved.said:
                described = make(target)
                note = f"PyTorch's index ({INDEX_HOST}) cannot be reached: torch is what the other indexes have, not {build}"
                return replace(described, notes=(*described.notes, note)), target
            if not _about_torch(unsolved.said):
                raise
            failed = unsolved
    if failed is None:
        return make(target), target
    raise EnvironmentFailed(
        f"there is no build of this torch that the worker can run ({', '.join(builds)}):\n{failed.said}",
        "take another version of torch, ask for a machine with a newer driver, or choose the packages yourself: "
        "env=requirements.txt",
    ) from failed


def _about_torch(said: str) -> bool:
    return not TORCH.isdisjoint(re.findall(r"[\w-]+", said))
