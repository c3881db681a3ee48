"""Configuration by traitlets, as everywhere in Jupyter: defaults < file < environment < cell line.

Files: ``jupyter_cellferry_config.py`` / ``.json`` on Jupyter's config path, read by ``load``.
Environment: ``CELLFERRY_FETCH_LIMIT=1048576`` sets ``c.Cellferry.fetch_limit``.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

from traitlets import Dict, Enum, Float, Integer, List, TraitError, Unicode
from traitlets.config import Config, Configurable

MIB = 1 << 20


class Cellferry(Configurable):  # type: ignore[misc, unused-ignore]
    """The settings of cellferry; one instance for each kernel. Times in seconds, sizes in bytes."""

    local_transport = Enum(
        ["unix", "tls"],
        "unix",
        help="How the local worker is reached: a unix socket in a private folder, or mutual TLS 1.3 on loopback.",
    ).tag(config=True)
    local_folder = Enum(
        ["notebook", "own"],
        "notebook",
        help="Where cells on the local worker run: in the notebook's own folder, or in an isolated one, to and from which files "
        "are copied as for a worker elsewhere (always so with trust = 'data' or an artifact store).",
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
    names_in_texts = List(
        Unicode(),
        help="Further functions whose texts name variables of their caller, as those of df.query() and ols() do: what a text in "
        "reach of such a call names travels with the cell.",
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
    budget = Float(
        None,
        allow_none=True,
        help="Most that one notebook may spend on workers, in US dollars; None: a worker that costs money needs `budget=`.",
    ).tag(config=True)
    budget_day = Float(None, allow_none=True, help="Most that you may spend in a day (UTC), in US dollars.").tag(config=True)
    budget_month = Float(None, allow_none=True, help="Most that you may spend in a month (UTC), in US dollars.").tag(
        config=True
    )
    ledger = Unicode(
        "",
        help="Where money is accounted for: a database URL (postgresql+psycopg://host/name) for a team; empty: a file of yours.",
    ).tag(config=True)
    person = Unicode("", help="Who spends, in a shared ledger; empty: your user name.").tag(config=True)
    providers = List(
        Unicode(),
        help="Where workers may be started, in no order: local, ssh, aws, demo. Empty: local, and those that are configured "
        "(`hosts` for ssh, `aws_regions` for aws).",
    ).tag(config=True)
    hosts = List(Unicode(), help="Machines for provider ssh: user@box, or a name from your ssh configuration.").tag(config=True)
    ssh_config = Unicode("~/.ssh/config", help="OpenSSH client configuration that provider ssh reads.").tag(config=True)
    ssh_known_hosts = Unicode("~/.ssh/known_hosts", help="Keys of the machines that provider ssh may connect to.").tag(
        config=True
    )
    aws_regions = List(Unicode(), help="Regions in which provider aws may start machines; empty: not configured.").tag(
        config=True
    )
    aws_profile = Unicode("", help="Profile of the AWS configuration to use; empty: boto3's own choice.").tag(config=True)
    aws_client_network = Unicode(
        "",
        help="The address or network from which machines at AWS may be reached, 203.0.113.7/32: that of this machine as "
        "others see it, or of the VPN that leads there; empty: asked of Amazon.",
    ).tag(config=True)
    aws_image = Unicode(
        "",
        help="Image of machines at AWS: ami-..., or the name of a public parameter; empty: the newest deep-learning base "
        "image, or Ubuntu for machines without a GPU.",
    ).tag(config=True)
    demo_seed = Integer(1, help="What happens in the simulated cloud is decided by this number.").tag(config=True)
    demo_weather = Dict(
        help="How the simulated cloud behaves: fields of cellferry.testing.Weather, for example {'stock_out': 1.0}."
    ).tag(config=True)
    state_dir = Unicode(
        "", help="Folder for the ledger, the keys of running workers and prices; empty: the user's data folder."
    ).tag(config=True)
    attempt_s = Float(600.0, help="How long one machine may take to become reachable before the next is tried (s).").tag(
        config=True
    )
    disconnect_s = Float(
        30.0, help="A cell with on_disconnect=stop is interrupted when its notebook has been gone for this long (seconds)."
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


def state_folder(config: Cellferry) -> Path:
    """The private folder for what must survive this process, made if it is not there. Raises OSError."""
    folder = Path(config.state_dir or Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "cellferry").expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def person_of(config: Cellferry) -> str:
    """Who spends and whose workers these are: the setting, else the user's name. The same for orders, tags and the ledger."""
    return config.person or user_name()


def user_name() -> str:
    """This user's name on this machine."""
    import getpass  # not for the first cell

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def from_environment(environ: dict[str, str] | None = None) -> Config:
    """Settings given as ``CELLFERRY_<NAME>`` variables; unknown names are ignored, since others share the prefix."""
    found = Config()
    values = os.environ if environ is None else environ
    for name, trait in Cellferry.class_traits(config=True).items():
        text = values.get(f"CELLFERRY_{name.upper()}")
        if text is not None:
            try:
                found.Cellferry[name] = _read(trait, text)
            except TraitError as error:
                raise TraitError(f"CELLFERRY_{name.upper()} cannot be used: {error}; {trait.help}") from error
    return found


def _read(trait: Any, text: str) -> Any:
    if isinstance(trait, List):
        return text.split(",")
    if isinstance(trait, Dict):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise TraitError(f"{text}: that is no dict ({error})") from error
    return trait.from_string(text)


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
