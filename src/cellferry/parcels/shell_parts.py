"""What of an IPython shell counts for the next cell, as entries that can be compared, packed and put in force elsewhere.

An entry has a key of plain data and a value: plain data as well, or objects of the notebook (a printer, a magic), which travel
like any value of it. What IPython itself brings is no entry, so an empty mapping is a shell as it starts. Both ends use this, each
with its own shell; no part of IPython is imported to be asked.
"""

from __future__ import annotations

import copy
import enum
import functools
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

Key = tuple[str, ...]


class Mark(enum.Enum):
    """``GONE``: an entry that was there and is no more; the shell is as without it."""

    GONE = enum.auto()


GONE = Mark.GONE

_PLAIN = (type(None), bool, int, float, str)
_OURS = ("IPython", "ipykernel", "cellferry", "traitlets", "ipywidgets")
"""Packages whose printers and magics are in every shell, or make themselves at home where they are needed."""
_OF_ONE_PROCESS = frozenset([
    "ipython_dir", "logfile", "logappend", "logstart", "banner1", "banner2", "history_length", "history_load_length", "quiet",
    "lazy_magics", "script_magics", "type_printers", "deferred_printers", "singleton_printers", "figure_format", "active_types",
    "user_aliases", "default_aliases",
])  # fmt: skip
"""Traits that belong to a process, or are entries of their own."""
_NOT_OF_CELLS = frozenset([
    "Application", "HistoryAccessorBase", "HistoryManager", "Completer", "CommManager", "AliasManager", "InteractiveShell",
    "DisplayFormatter",
])  # fmt: skip
"""Classes whose settings say nothing about what a cell does or shows."""
_ALWAYS_LOADED = frozenset(["storemagic", "IPython.extensions.storemagic", "cellferry"])


def plain(value: Any) -> bool:
    """Whether it is data that can be compared by ``==`` and is never somebody's object."""
    if isinstance(value, dict):
        return type(value) is dict and all(plain(k) and plain(v) for k, v in value.items())
    return type(value) in _PLAIN or (type(value) in (list, tuple, set, frozenset) and all(map(plain, value)))


def same(one: Any, other: Any) -> bool:
    """Whether two values of an entry are one: by identity, plain data by ``==``."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if type(one) is types.MethodType:
        return one.__self__ is other.__self__ and one.__func__ is other.__func__
    if type(one) is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    return plain(one) and bool(one == other)


# ---- by name ---------------------------------------------------------------------------------------------------------


def by_name(value: Any) -> Any:
    """What a package defines, as a tuple that names it, so that nothing is loaded for it before it is needed; other values are
    themselves."""
    if type(value) is functools.partial and plain(list(value.args)) and plain(value.keywords):
        return "partial", by_name(value.func), value.args, dict(value.keywords)
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if type(module) is not str or type(name) is not str or module == "__main__":
        return value
    return ("named", module, name) if _found(sys.modules.get(module), name) is value else value


def of_name(value: Any) -> Any:
    """The value that ``by_name`` described; raises ImportError or AttributeError where it is not there."""
    if type(value) is tuple and value[:1] == ("named",):
        return _attribute(importlib.import_module(value[1]), value[2])
    if type(value) is tuple and value[:1] == ("partial",):
        return functools.partial(of_name(value[1]), *value[2], **value[3])
    return value


def _attribute(module: Any, path: str) -> Any:
    return functools.reduce(getattr, path.split("."), module)


def _found(module: Any, path: str) -> Any:
    try:
        return _attribute(module, path)
    except AttributeError:
        return None


# ---- settings --------------------------------------------------------------------------------------------------------


def settings_of(configurable: Any) -> list[tuple[str, Any]]:
    """The traits that can be configured, with what they are when nobody sets them; asked once for each object."""
    known = _TRAITS.get(type(configurable))
    if known is None:
        traits = configurable.traits(config=True)
        known = _TRAITS[type(configurable)] = [
            (name, trait.default(configurable)) for name, trait in traits.items() if name not in _OF_ONE_PROCESS
        ]
    return known


_TRAITS: dict[type, list[tuple[str, Any]]] = {}
_STRANGE = {"xmode": ("InteractiveTB", "mode"), "pdb": (None, "call_pdb")}
"""Settings of the shell that its magics change elsewhere than in their trait."""


def owners(shell: Any) -> Iterator[tuple[str, Any]]:
    """Objects with settings, by the name under which the other end has its own."""
    yield "shell", shell
    for each in shell.configurables:
        name = _OWNERS.get(type(each))
        if name is None:
            kinds = {base.__name__ for base in type(each).__mro__}
            name = _OWNERS[type(each)] = "" if kinds & _NOT_OF_CELLS else type(each).__name__
        if name:
            yield name, each
    for name, formatter in formatters_of(shell):
        yield f"formatter {name}", formatter


_OWNERS: dict[type, str] = {}


def look_settings(shell: Any) -> dict[Key, Any]:
    """Settings (``%config``, ``%precision``, ``%xmode``, ``%pprint``) that are not as the class has them."""
    found: dict[Key, Any] = {}
    for owner, each in owners(shell):
        values = each._trait_values
        for name, default in settings_of(each):
            value = values.get(name, default)
            if owner == "shell" and name in _STRANGE:
                value = strange(shell, name)
            if value is not default and value != default and plain(value):
                found["setting", owner, name] = value if isinstance(value, _PLAIN) else copy.deepcopy(value)
    for name, value in for_later(shell).items():
        if plain(value):
            found.setdefault(("setting", _INLINE, name), copy.deepcopy(value))
    return found


_INLINE = "InlineBackend"


def makes_printers(key: Key) -> bool:
    """Whether a setting has the printers of figures made anew."""
    return key[:2] == ("setting", _INLINE)


def of_figures(key: Key) -> bool:
    """Whether it is such a printer."""
    return key[0] == "printer" and key[2:] == ("matplotlib.figure", "Figure")


def for_later(shell: Any) -> dict[str, Any]:
    """What ``%config`` said of the inline backend before that came into being."""
    if any(type(each).__name__ == _INLINE for each in shell.configurables) or _INLINE not in shell.config:
        return {}
    return {
        name: set(value) if name == "figure_formats" else value for name, value in dict(shell.config[_INLINE]).items()
    }


def strange(shell: Any, name: str) -> Any:
    part, attribute = _STRANGE[name]
    return getattr(getattr(shell, part) if part else shell, attribute)


def give_setting(shell: Any, key: Key, value: Any) -> None:
    """Make a setting what it is elsewhere, GONE: what its class says. Raises LookupError where there is no such."""
    _word, owner, name = key
    each = next((each for known, each in owners(shell) if known == owner), None)
    if each is None:
        _give_for_later(shell, owner, name, value)
        return
    default = dict(settings_of(each)).get(name)
    value = default if value is GONE else copy.deepcopy(value)
    if owner == "shell" and name == "xmode":
        shell.InteractiveTB.set_mode(mode=value)
    elif owner == "shell" and name == "pdb":
        shell.call_pdb = value
    elif name == "float_precision":
        _give_precision(each, value)
    elif each.has_trait(name):
        setattr(each, name, value)


def _give_precision(formatter: Any, value: str) -> None:
    """Setting it changes numpy's options as well; these have their own way."""
    numpy = sys.modules.get("numpy")
    before = numpy.get_printoptions() if numpy is not None else {}
    formatter.float_precision = value
    if numpy is not None:
        numpy.set_printoptions(**before)


def _give_for_later(shell: Any, owner: str, name: str, value: Any) -> None:
    """As ``%config`` does before the first figure: the inline backend reads it when it comes into being."""
    if owner != _INLINE:
        raise LookupError(f"there is no {owner} in that kernel")
    section = shell.config[owner]
    if value is GONE:
        section.pop(name, None)
    else:
        section[name] = copy.deepcopy(value)


# ---- printers --------------------------------------------------------------------------------------------------------


def formatters_of(shell: Any) -> Iterator[tuple[str, Any]]:
    display = shell.display_formatter
    yield from display.formatters.items()
    yield "ipython_display", display.ipython_display_formatter
    yield "mimebundle", display.mimebundle_formatter


def look_printers(shell: Any) -> dict[Key, Any]:
    """Printers that somebody registered with the shell's display formatters, and formatters that took another's place."""
    found: dict[Key, Any] = {}
    for mime, formatter in formatters_of(shell):
        if type(formatter).__module__.partition(".")[0] not in _OURS:
            found["formatter", mime] = _installed(formatter)
            continue
        for kind, printer in formatter.type_printers.items():
            if not _of_ipython(printer):
                module, name = kind.__module__, kind.__qualname__
                held = printer if module != "__main__" else (kind, printer)
                found["printer", mime, str(module), name] = by_name(held)
        for (module, name), printer in formatter.deferred_printers.items():
            if not _of_ipython(printer):
                found["printer", mime, module, name] = by_name(printer)
    return found


def _of_ipython(printer: Any) -> bool:
    return (getattr(printer, "__module__", None) or "").partition(".")[0] in _OURS


def _installed(formatter: Any) -> Any:
    """A formatter of somebody else's: how to install it again, where that is known; else the object itself."""
    kind = type(formatter)
    if (kind.__module__, kind.__qualname__) != ("rich.pretty", "install.<locals>.RichFormatter"):
        return formatter
    function = kind.__call__
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    words = {name: cell.cell_contents for name, cell in cells}
    return "installed", "rich.pretty", "install", {name: value for name, value in words.items() if plain(value)}


def give_printer(shell: Any, key: Key, value: Any) -> None:
    """Register a printer for a class of a package, by name while that is not loaded, or of the notebook; GONE: as before."""
    _word, mime, module, name = key
    formatter = dict(formatters_of(shell))[mime]
    kind = _found(sys.modules.get(module), name) if module != "__main__" else None
    if module == "__main__" and type(value) is tuple and len(value) == 2:
        kind, value = value
    if value is GONE:
        _take_printer(formatter, (module, name))
    elif isinstance(kind, type):
        formatter.type_printers[kind] = of_name(value)
    else:
        formatter.deferred_printers[module, name] = of_name(value)


def _take_printer(formatter: Any, name: tuple[str, str]) -> None:
    """Without it, and with IPython's own again, if there is one."""
    formatter.deferred_printers.pop(name, None)
    own = type(formatter)().type_printers
    for kind in [kind for kind in formatter.type_printers if (kind.__module__, kind.__qualname__) == name]:
        if kind in own:
            formatter.type_printers[kind] = own[kind]
        else:
            del formatter.type_printers[kind]


def give_formatter(shell: Any, key: Key, value: Any) -> None:
    """Put a formatter in the place of IPython's; GONE: IPython's again."""
    formatters, mime = shell.display_formatter.formatters, key[1]
    _ORIGINALS.setdefault(mime, formatters[mime])
    if value is GONE:
        formatters[mime] = _own_formatter(shell, mime)
    elif type(value) is tuple:
        _attribute(importlib.import_module(value[1]), value[2])(**value[3])
    else:
        formatters[mime] = value


_ORIGINALS: dict[str, Any] = {}
"""Formatters of this process that another took the place of."""


def _own_formatter(shell: Any, mime: str) -> Any:
    original = _ORIGINALS[mime]
    if type(original).__module__.partition(".")[0] in _OURS:
        return original
    fresh = type(shell.display_formatter)(parent=shell)
    return fresh.formatters[mime]


# ---- magics ----------------------------------------------------------------------------------------------------------


def look_extensions(shell: Any) -> dict[Key, Any]:
    """Extensions that ``%load_ext`` has loaded."""
    return {("extension", name): True for name in shell.extension_manager.loaded - _ALWAYS_LOADED}


def give_extension(shell: Any, key: Key, value: Any) -> None:
    """Load or unload it; raises what its import raises."""
    manager, name = shell.extension_manager, key[1]
    if value is GONE:
        manager.unload_extension(name)
    elif manager.load_extension(name) == "no load function":
        raise LookupError(f"{name} is no extension of IPython there")


def look_magics(shell: Any) -> dict[Key, Any]:
    """Magics and aliases that the notebook made itself; those of an extension come with it."""
    theirs = {*_OURS, *(name.partition(".")[0] for name in shell.extension_manager.loaded)}
    found: dict[Key, Any] = {}
    for kind, magics in shell.magics_manager.magics.items():
        for name, magic in magics.items():
            home = _home(magic)
            if home == _ALIAS:
                if (name, magic.cmd) not in shell.alias_manager.default_aliases:
                    found["magic", kind, name] = ("alias", magic.cmd)
            elif home == _MAGIC_ALIAS:
                if _COMES_ALONG.get((kind, name)) != magic.magic_name:
                    target = (magic.magic_name, magic.magic_kind, magic.magic_params)
                    found["magic", kind, name] = ("magic alias", *target)
            elif home.partition(".")[0] not in theirs:
                found["magic", kind, name] = by_name(magic)
    return found


_ALIAS, _MAGIC_ALIAS = "IPython.core.alias.Alias", "IPython.core.magic.MagicAlias"
_COMES_ALONG = {
    ("line", "ed"): "edit", ("line", "hist"): "history", ("line", "rep"): "recall",
    ("cell", "SVG"): "svg", ("cell", "HTML"): "html", ("cell", "file"): "writefile",
}  # fmt: skip
"""Aliases of magics that IPython makes itself."""


def _home(magic: Any) -> str:
    """Where the code of a magic is from: its module, or the class of an alias."""
    if type(magic).__module__.startswith("IPython.core."):
        return f"{type(magic).__module__}.{type(magic).__qualname__}"
    return str(getattr(magic, "__module__", None) or type(magic).__module__)


def give_magic(shell: Any, key: Key, value: Any) -> None:
    """Register a magic or an alias under its name; GONE: take it away."""
    _word, kind, name = key
    manager = shell.magics_manager
    if value is GONE:
        manager.magics[kind].pop(name, None)
    elif type(value) is tuple and value[0] == "alias":
        manager.magics[kind].pop(name, None)
        shell.alias_manager.define_alias(name, value[1])
    elif type(value) is tuple and value[0] == "magic alias":
        manager.register_alias(name, value[1], kind, value[3])
    elif not same(manager.magics[kind].get(name), value):
        manager.magics[kind][name] = of_name(value)


# ---- what reads a cell -----------------------------------------------------------------------------------------------

READERS = ("input_transformers_post", "ast_transformers", "input_transformers_cleanup")


def look_readers(shell: Any) -> dict[Key, Any]:
    """Transformers of a cell's text and of its tree that are not IPython's."""
    found: dict[Key, Any] = {}
    for kind in READERS:
        own = tuple(
            by_name(each) for each in getattr(shell, kind) if not _of_ipython(each) and not _of_ipython(type(each))
        )
        if own:
            found["transformers", kind] = own
    return found


def give_readers(shell: Any, key: Key, value: Any) -> None:
    """After IPython's own, in order."""
    present = getattr(shell, key[1])
    own = [] if value is GONE else [of_name(each) for each in value]
    present[:] = [each for each in present if _of_ipython(each) or _of_ipython(type(each))] + own
