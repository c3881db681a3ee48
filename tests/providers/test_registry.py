"""Providers are found by entry point, loaded only when asked for, and a missing one is advice."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from cellferry.config import Cellferry
from cellferry.errors import RequestError
from cellferry.providers import registry
from cellferry.providers.base import Provider
from cellferry.providers.registry import load_provider, provider_names


def certificate(_folder: object) -> str:
    return ""


def test_local_is_there() -> None:
    assert "local" in provider_names()
    provider = load_provider("local", Cellferry(), certificate)
    assert isinstance(provider, Provider) and provider.name == "local"
    assert registry.LOCAL in registry.entry_points(group=registry.GROUP), "the shortcut says what the package says"


def test_asking_for_names_imports_no_provider() -> None:
    code = "from cellferry.providers.registry import provider_names as p; import sys; p(); print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "cellferry.providers.registry" in loaded and "cellferry.providers.local" not in loaded


def test_an_unknown_one() -> None:
    with pytest.raises(RequestError, match=r"no provider 'lokal'; installed: .*local") as caught:
        load_provider("lokal", Cellferry(), certificate)
    assert caught.value.advice


@pytest.mark.parametrize(
    ("target", "words"),
    [("a_package_that_is_missing:Provider", "pip install 'cellferry[far]'"), ("json:JSONDecoder", "is not a")],
)
def test_a_broken_one(monkeypatch: pytest.MonkeyPatch, target: str, words: str) -> None:
    entry = EntryPoint("far", target, registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    with pytest.raises(RequestError) as caught:
        load_provider("far", Cellferry(), certificate)
    assert words in str(caught.value)


def test_the_seam_stays_narrow() -> None:
    methods = [name for name in vars(Provider) if not name.startswith("_")]
    assert len(methods) <= 8
    assert all(getattr(Provider, name).__doc__ for name in methods)
