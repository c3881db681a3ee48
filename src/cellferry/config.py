"""Configuration by traitlets, as everywhere in Jupyter: defaults < file < environment < cell line.

Files: ``jupyter_cellferry_config.py`` / ``.json`` on Jupyter's config path, read by ``load``.
Environment: ``CELLFERRY_FETCH_LIMIT=1048576`` sets ``c.Cellferry.fetch_limit``.
"""

from __future__ import annotations

import os
from typing import Any

from traitlets import Enum, Float, Integer, List, Unicode
from traitlets.config import Config, Configurable

MIB = 1 << 20


class Cellferry(Configurable):  # type: ignore[misc, unused-ignore]
    """The settings of cellferry; one instance for each kernel. Times in seconds, sizes in bytes."""

    local_transport = Enum(
        ["unix", "tls"],
        "unix",
        help="How the local worker is reached: a unix socket in a private folder, or mutual TLS 1.3 on loopback.",
    ).tag(config=True)
    fetch_limit = Integer(
        64 * MIB,
        help="A new value larger than this (bytes) stays on the worker as a placeholder until it is named at home.",
    ).tag(config=True)
    file_limit = Integer(
        100 * MIB,
        help="Files written by a cell beyond this total (bytes) stay on the worker; `%remote get PATH` fetches them.",
    ).tag(config=True)
    artifact_store = Unicode(
        "",
        help="Where files written by cells go instead of beside the notebook: s3://bucket/prefix, file:///folder or "
        "another fsspec URL; `%remote get NAME` fetches them. Empty: beside the notebook.",
    ).tag(config=True)
    idle_s = Float(600.0, help="How long an unused worker is kept (seconds); `idle=` on the cell line wins.").tag(
        config=True
    )
    env = Unicode(
        "",
        help="Packages of the worker's kernel, as `env=`: auto (found in the cell), full, a file, python:PATH. Empty: a local "
        "worker shares the notebook's own environment.",
    ).tag(config=True)
    secrets = List(
        Unicode(), help="Environment variables here that every remote cell may read there (`secrets=` adds more)."
    ).tag(config=True)
    trust = Enum(
        ["code", "data"],
        "code",
        help="What may come home from a worker: any value (pickles, which can run code here), or data alone (arrays, frames, "
        "tensors, images, JSON-like values); other values stay there.",
    ).tag(config=True)
    cache_dir = Unicode(
        "", help="Folder for environments, locks and wheels, which can be made again; empty: the user's cache folder."
    ).tag(config=True)
    grace_s = Float(5.0, help="A local worker ends this many seconds after the kernel that started it is gone.").tag(
        config=True
    )
    start_timeout_s = Float(
        10.0, help="A worker that makes no progress for this long while it starts is given up (seconds)."
    ).tag(config=True)
    worker_dir = Unicode(
        "",
        help="Folder for the local worker's private folders; empty: the user's runtime folder or the system's temporary one.",
    ).tag(config=True)


def from_environment(environ: dict[str, str] | None = None) -> Config:
    """Settings given as ``CELLFERRY_<NAME>`` variables; unknown names are ignored, since others share the prefix."""
    found = Config()
    values = os.environ if environ is None else environ
    for name, trait in Cellferry.class_traits(config=True).items():
        text = values.get(f"CELLFERRY_{name.upper()}")
        if text is not None:
            found.Cellferry[name] = text.split(",") if isinstance(trait, List) else trait.from_string(text)
    return found


def load(parent: Any = None) -> Cellferry:
    """The settings in force: files, then the parent application's own config (kernel or terminal), then the environment.

    Called once by each door. Raises traitlets.TraitError for a value that does not fit.
    """
    from jupyter_core.paths import jupyter_config_path
    from traitlets.config.loader import ConfigFileNotFound, JSONFileConfigLoader, PyFileConfigLoader

    merged = Config()
    for folder in reversed(jupyter_config_path()):
        for loader in (PyFileConfigLoader, JSONFileConfigLoader):
            suffix = ".py" if loader is PyFileConfigLoader else ".json"
            try:
                merged.merge(loader("jupyter_cellferry_config" + suffix, path=folder).load_config())
            except ConfigFileNotFound:
                continue
    if parent is not None:
        merged.merge(parent.config)
    merged.merge(from_environment())
    return Cellferry(config=merged)
