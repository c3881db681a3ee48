"""What GPUs a machine has, as ``nvidia-smi`` tells; and the short names by which people ask for them."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
PATIENCE_S = 10.0
_MIB = 1 << 20
_NAME = re.compile(r"\b(?:(?:rtx|gtx|quadro) ?)?(?:[a-z]{1,2}\d{1,4}[a-z]?|\d{4}|titan\w*)(?: ?(?:ti|super))?\b")


@dataclass(frozen=True)
class Gpus:
    """The GPUs of one machine; of several kinds, the most numerous. ``memory_bytes``: of one."""

    name: str = ""
    count: int = 0
    memory_bytes: int = 0
    driver: str = ""
    """Version of NVIDIA's driver."""


def read_gpus(told: str) -> Gpus:
    """From the output of ``QUERY``, a line for each GPU: ``NVIDIA A100-SXM4-80GB, 81920, 570.86.15``."""
    found: Counter[tuple[str, int, str]] = Counter()
    for line in told.splitlines():
        words = [word.strip() for word in line.rsplit(",", 2)]
        if len(words) == 3 and words[0] and words[1].isdigit():
            found[short_name(words[0]), int(words[1]) * _MIB, words[2]] += 1
    if not found:
        return Gpus()
    (name, memory_bytes, driver), count = found.most_common(1)[0]
    return Gpus(name, count, memory_bytes, driver)


def short_name(told: str) -> str:
    """ "NVIDIA A100-SXM4-80GB" -> "a100", "NVIDIA GeForce RTX 4090" -> "rtx4090", "Tesla T4" -> "t4"."""
    text = told.lower().replace("-", " ").replace("geforce", "").replace("nvidia", "").replace("tesla", "")
    found = _NAME.search(text)
    return found.group().replace(" ", "") if found else "-".join(text.split()) or "gpu"


@lru_cache(maxsize=1)
def gpus_here() -> Gpus:
    """Those of this machine; none where there is no ``nvidia-smi``."""
    try:
        told = subprocess.run(QUERY, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return Gpus()
    return read_gpus(told)


def memory_here_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
