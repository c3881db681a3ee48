"""Find a provider by its name. Nothing is imported until it is asked for; a missing package is named."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from cellferry.config import Cellferry
from cellferry.errors import RequestError
from cellferry.providers.base import MakeIdentity, Provider

GROUP = "cellferry.providers"
LOCAL = EntryPoint("local", "cellferry.providers.local:LocalProvider", GROUP)
"""Known without looking: reading the metadata of every installed package would delay the first cell."""


def provider_names() -> list[str]:
    """The names of all installed providers, sorted; imports none of them."""
    return sorted(entry.name for entry in entry_points(group=GROUP))


def load_provider(name: str, config: Cellferry, make_identity: MakeIdentity) -> Provider:
    """The provider of that name, ready for use. Raises RequestError if there is none, or if it lacks a package."""
    entry = _entry(name)
    try:
        provider = entry.load()
    except ImportError as error:
        hint = f"pip install 'cellferry[{name}]'" if (error.name or "").split(".")[0] != "cellferry" else ""
        raise RequestError(f"provider {name!r} cannot be used: {error}", hint) from error
    if not (isinstance(provider, type) and issubclass(provider, Provider)):
        raise RequestError(f"provider {name!r} ({entry.value}) is not a cellferry.providers.base.Provider")
    return provider(config, make_identity)


def _entry(name: str) -> EntryPoint:
    if name == LOCAL.name:
        return LOCAL
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry
    known = ", ".join(provider_names()) or "none; is cellferry installed (`pip install cellferry`)?"
    raise RequestError(f"there is no provider {name!r}; installed: {known}", "for example: %%remote provider=local")
