"""Where packages come from on this machine: the indexes that pip and uv are told of, credentials kept apart."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cellferry.environment.uv import without_credentials


@dataclass(frozen=True)
class Sources:
    """``default`` is the index asked last, ``more`` are asked before it; no URL holds a user or a password.

    ``credentials``: user and password by host name; never written to a lock, a log or a setting.
    """

    default: str = ""
    more: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def arguments(self) -> list[str]:
        """For uv; nothing where uv's own settings already say it."""
        found = ["--default-index", self.default] if self.default else []
        for url in self.more:
            found += ["--index", url]
        for place in self.find_links:
            found += ["--find-links", place]
        # pip takes the best version that any index has; uv by itself only what the first index with the name has
        return [*found, "--index-strategy", "unsafe-best-match"] if self.more else found


def read_sources(environ: Mapping[str, str], files: Iterable[Path] | None = None) -> Sources:
    """The sources in force: pip's environment variables over pip's files, and uv's variables on top.

    Called by whoever makes a lock. uv reads its own configuration files by itself; what they say is not repeated here.
    """
    told: dict[str, list[str]] = {}
    for file in pip_files(environ) if files is None else files:
        told.update(_pip_file(file))
    told.update({key: environ[f"PIP_{key}"].split() for key in _KEYS if environ.get(f"PIP_{key}")})
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or " ".join(told.get("INDEX_URL", [])[:1])
    more = [*_named(environ.get("UV_INDEX", "")), *environ.get("UV_EXTRA_INDEX_URL", "").split()]
    more = more or told.get("EXTRA_INDEX_URL", [])
    credentials: dict[str, tuple[str, str]] = {}
    bare = []
    for url in (default, *more):
        clean, found = without_credentials(url)
        bare.append(clean)
        if found is not None:
            credentials[found[0]] = found[1:]
    links = [place for place in told.get("FIND_LINKS", []) if place.startswith("http") or Path(place).exists()]
    return Sources(bare[0], tuple(dict.fromkeys(bare[1:])), tuple(links), credentials)


_KEYS = ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS")


def pip_files(environ: Mapping[str, str]) -> list[Path]:
    """pip's configuration files, the one that wins last (https://pip.pypa.io/en/stable/topics/configuration/)."""
    if environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    home = Path(environ.get("HOME", "~")).expanduser()
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    machine = [Path(place, "pip", "pip.conf") for place in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    named = [Path(environ["PIP_CONFIG_FILE"])] if environ.get("PIP_CONFIG_FILE") else []
    user = [home / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
    return [*machine, Path("/etc/pip.conf"), *user, Path(sys.prefix) / "pip.conf", *named]


def _pip_file(file: Path) -> dict[str, list[str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, "utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}
    found: dict[str, list[str]] = {}
    for section in ("global", "install"):
        for key in _KEYS:
            option = key.lower().replace("_", "-")
            if parser.has_option(section, option):
                found[key] = parser.get(section, option).split()
    return found


def _named(text: str) -> list[str]:
    """uv's ``name=https://…`` words, without the names."""
    return [word.partition("=")[2] if "=" in word.partition("://")[0] else word for word in text.split()]
