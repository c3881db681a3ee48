"""Does a machine do for what a cell asks? GPU names are compared as people say them, sizes as makers print them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from cellferry.model import Hardware, Offer

NOMINAL = 0.92
"""A size fits from this part of what was asked: makers count 10^9 for a gigabyte and cards keep some for themselves
(an A10G of 24 GB has 22.35 GiB, a T4 of 16 GB shows 15), and a machine's own system takes a little of its memory."""

_GIB = 1 << 30
_MEMORY = re.compile(r"(\d+)gi?b?")
_FORM = re.compile(r"(nvidia|tesla|geforce|quadro|amd|intel|pcie|sxm\d?|nvl|hbm\d?e?|generation)")
_NOISE = re.compile(r"[^a-z0-9]+")


class Gpu(NamedTuple):
    """A GPU's name as people say it ("a100"), and its memory if the name told (GiB, else 0)."""

    name: str
    gib: int = 0


@lru_cache(maxsize=4096)
def gpu_named(text: str) -> Gpu:
    """ "NVIDIA A100-SXM4-80GB", "a100-80g" -> a100 of 80; "GeForce RTX 4090" -> rtx4090; "RTX A6000" -> a6000.

    How the card is built in (SXM, PCIe) does not count.
    """
    words, gib = [], 0
    for word in _NOISE.split(text.lower()):
        memory = _MEMORY.fullmatch(word)
        if memory is not None:
            gib = gib or int(memory[1])
        elif word and not _FORM.fullmatch(word):
            words.append(word)
    name = "".join(words)
    return Gpu(name.removeprefix("rtx") if name[3:4].isalpha() else name, gib)


class Asked:
    """``Hardware`` made ready to be held against thousands of offers; call it with one."""

    def __init__(self, hardware: Hardware) -> None:
        self._gpu = gpu_named(hardware.gpu) if hardware.gpu else Gpu("")
        self._count = max(hardware.gpu_count, 1) if hardware.gpu or hardware.gpu_memory_bytes else hardware.gpu_count
        self._memory_each = hardware.gpu_memory_bytes or 0
        self._cpus = hardware.cpus or 0
        self._memory = hardware.memory_bytes or 0

    def __call__(self, offer: Offer) -> str:
        """Why ``offer`` does not do, in a few words; "" if it does. Never raises.

        More than asked does too: it only costs more. An offer that does not know its processors or memory (0) is not
        ruled out by them. Disk is not looked at: machines get one of the size that is asked for.
        """
        if self._count:
            why = self._wrong_gpu(offer)
            if why:
                return why
        if self._cpus and 0 < offer.cpus < self._cpus:
            return f"{offer.cpus} processors, {self._cpus} asked"
        if self._memory and 0 < offer.memory_bytes < self._memory * NOMINAL:
            return f"{_gib(offer.memory_bytes)} memory, {_gib(self._memory)} asked"
        return ""

    def _wrong_gpu(self, offer: Offer) -> str:
        if not offer.gpu_count:
            return "no GPU"
        if self._gpu.name:
            has = gpu_named(offer.gpu)
            if has.name != self._gpu.name:
                return f"{offer.gpu}, not {self._gpu.name}"
            if self._gpu.gib and not self._is_of(has, offer):
                return f"{offer.gpu} of {_gib(offer.gpu_memory_bytes)}, not {self._gpu.gib} GB"
        if offer.gpu_count < self._count:
            return f"{offer.gpu_count} x {offer.gpu}, {self._count} asked"
        if offer.gpu_memory_bytes < self._memory_each * NOMINAL:
            return f"{offer.gpu} of {_gib(offer.gpu_memory_bytes)}, {_gib(self._memory_each)} asked"
        return ""

    def _is_of(self, has: Gpu, offer: Offer) -> bool:
        """Whether it is the model with this memory: "a100-40g" is not the one of 80 GB."""
        asked = self._gpu.gib * _GIB
        actual = offer.gpu_memory_bytes or has.gib * _GIB
        return asked * NOMINAL <= actual <= asked / NOMINAL


def fits(hardware: Hardware, offer: Offer) -> str:
    """Why ``offer`` does not do for ``hardware``, in a few words; "" if it does. Never raises."""
    return Asked(hardware)(offer)


def nearest_gpus(word: str, offers: Iterable[Offer], most: int = 3) -> list[str]:
    """Names of GPUs on offer that look like ``word``, the nearest first; all of them, sorted, if none does."""
    names = sorted({gpu_named(offer.gpu).name for offer in offers if offer.gpu_count})
    asked = gpu_named(word).name
    near = difflib.get_close_matches(asked, names, most, 0.5)
    near += [name for name in names if name not in near and len(asked) > 1 and (name in asked or asked in name)]
    return near[:most] or names


def _gib(size_bytes: float) -> str:
    gib = size_bytes / _GIB
    return f"{gib:.0f} GiB" if gib >= 100 else f"{gib:.3g} GiB"
