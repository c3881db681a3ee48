"""Settings of libraries that draw charts: what is enabled by name, and the notebook's own themes and templates."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from cellferry.parcels.ambient_source import Source

_REGISTRIES = ("data_transformers", "renderers", "themes", "theme")


def _registries(module: Any) -> dict[str, Any]:
    found = {
        name: getattr(module, name, None) for name in _REGISTRIES if name != "themes" or not hasattr(module, "theme")
    }
    return {
        name: registry
        for name, registry in found.items()
        if hasattr(registry, "enable") and hasattr(registry, "active")
    }


def _plugins(registry: Any) -> dict[str, Any]:
    """Those that do not come with the library."""
    kept = registry if hasattr(registry, "_plugins") else getattr(registry, "_themes", None)
    return {
        name: plugin
        for name, plugin in getattr(kept, "_plugins", {}).items()
        if str(getattr(plugin, "__module__", "altair")).partition(".")[0] != "altair"
    }


def _take_altair(module: Any) -> Any:
    return {
        name: (registry.active, dict(registry.options), _plugins(registry))
        for name, registry in _registries(module).items()
    }


def _give_altair(module: Any, state: Any) -> None:
    for name, registry in _registries(module).items():
        active, options, plugins = state.get(name, (registry.active, registry.options, {}))
        for own, plugin in plugins.items():
            if name == "theme":
                registry.register(own, enable=False)(plugin)
            else:
                registry.register(own, plugin)
        if (active, options) != (registry.active, dict(registry.options)):
            registry.enable(active, **options)


def _take_plotly(module: Any) -> Any:
    """Names of defaults, and templates that do not come with the library, as plain data."""
    own = {name: module.templates[name].to_plotly_json() for name in _own_templates(module)}
    return {"template": module.templates.default, "renderer": module.renderers.default, "own": own}


def _own_templates(module: Any) -> list[str]:
    held = getattr(module.templates, "_templates", {})
    return [
        name
        for name, value in held.items()
        if name not in _library_templates(module) and hasattr(value, "to_plotly_json")
    ]


@lru_cache(maxsize=8)
def _library_templates(module: Any) -> frozenset[str]:
    folder = Path(module.__file__).parents[1] / "package_data" / "templates"
    return frozenset(["none", *(path.stem for path in folder.iterdir())])


def _give_plotly(module: Any, state: Any) -> None:
    for name, template in state["own"].items():
        module.templates[name] = template
    if module.templates.default != state["template"]:
        module.templates.default = state["template"]
    if module.renderers.default != state["renderer"]:
        module.renderers.default = state["renderer"]


CHARTS: dict[str, Source] = {
    "altair settings": Source("altair", "renderers", _take_altair, _give_altair),
    "plotly settings": Source("plotly.io", "renderers", _take_plotly, _give_plotly),
}
