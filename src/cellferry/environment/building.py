"""Install a lock into an environment on a worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cellferry.environment.instances import Instance, spare, versions
from cellferry.environment.lock import NAME
from cellferry.environment.uv import Credentials, run_uv
from cellferry.errors import EnvironmentNotBuilt

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """An environment that is ready; ``versions`` is everything that it holds, ``seconds`` what it took."""

    key: str
    versions: dict[str, str]
    seconds: float


def build(
    root: Path, instance: Instance, key: str, folder: Path, wanted: dict[str, str], credentials: Credentials,
    progress: Progress,
) -> Built:  # fmt: skip
    """Make ``instance`` hold what the lock in ``folder`` says; what it holds already is not touched.

    ``wanted``: names and versions of the lock. A distribution that is there in another version stays as it is, for a
    kernel may have it loaded: that is an error here. Raises EnvironmentNotBuilt, with uv's words.
    """
    began = time.monotonic()
    there = versions(instance.site)
    other = sorted(f"{name} {there[name]} (wanted: {v})" for name, v in wanted.items() if v and there.get(name, v) != v)
    if other:
        raise EnvironmentNotBuilt(
            f"the worker's environment has other versions than this notebook: {', '.join(other)}",
            "end the worker, a new one gets yours: %remote down; or give the cell another: name=…",
        )
    if instance.key != key:
        if instance.key:
            spare(root, instance)
        instance.growing()
        _install(instance, folder, credentials, progress)
        instance.built(key)
    return Built(key, versions(instance.site), time.monotonic() - began)


def _install(instance: Instance, folder: Path, credentials: Credentials, progress: Progress) -> None:
    # uv keeps what it downloaded and unpacked in its own cache, and links files into the environment from there
    outcome = run_uv(
        ["pip", "install", "--no-deps", "--python", str(instance.python), "--requirements", NAME, "--preview-features", "pylock"],
        cwd=folder, credentials=credentials, on_line=lambda line: progress(line) if line.startswith(_TOLD) else None,
    )  # fmt: skip
    if not outcome.ok:
        tail = "\n".join(outcome.err.strip().splitlines()[-12:])
        raise EnvironmentNotBuilt(
            f"the packages could not be installed on the worker:\n{tail}",
            "if it cannot reach the index, choose an environment that is there: env=python:/path/to/python",
        )


_TOLD = ("Prepared", "Installed", "Building", "   Building", "Downloading")
