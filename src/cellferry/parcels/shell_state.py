"""One end's view of what two shells agree on (``shell_parts``): what has changed here, and what is to be in force here.

A warm cell in which nothing of this changed costs a look at references and no more.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import Any

from cellferry.parcels import loggers, shell_outputs, shell_parts
from cellferry.parcels.placeholder import Placeholder
from cellferry.parcels.shell_parts import GONE, Key, same

SHELL = "\x00shell"
"""Root under which the entries travel."""

LOOKS: tuple[Callable[[Any], dict[Key, Any]], ...] = (
    shell_parts.look_extensions, shell_parts.look_settings, shell_parts.look_printers, shell_parts.look_magics,
    shell_parts.look_readers,
)  # fmt: skip
GIVES: dict[str, Callable[[Any, Key, Any], None]] = {
    "extension": shell_parts.give_extension, "setting": shell_parts.give_setting, "formatter": shell_parts.give_formatter,
    "printer": shell_parts.give_printer, "magic": shell_parts.give_magic, "transformers": shell_parts.give_readers,
    "handlers": loggers.give_logging, "filters": loggers.give_logging, "output": shell_outputs.give_output,
}  # fmt: skip
"""What puts an entry in force, by the first word of its key; in this order: an extension brings settings and magics."""
_ORDER = {word: at for at, word in enumerate(GIVES)}


class ShellState:
    """``shell``: the IPython shell of this process; None where there is none, and nothing to agree on."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._agreed: dict[Key, Any] = {}
        self._seen: list[Any] = []
        self._entries: dict[Key, Any] = {}
        self._now: dict[Key, Any] = {}
        self._left: set[Key] = set()

    def changed(self) -> dict[Key, Any]:
        """Entries that are not as agreed, GONE for those that are no more; call ``agree`` once the other end has them. Magics
        that are methods of an object of the notebook are always among them: what the object holds may have changed."""
        if self._shell is None:
            return {}
        now = self._now = self._look()
        alive = {key: value for key, value in now.items() if type(value) is MethodType and key not in self._left}
        return {**alive, **_differences(self._agreed, now)}

    def outgoing(self) -> dict[Key, Any]:
        """What goes with a cell to its worker: what has changed, and whatever of the notebook's own code may be called there,
        since the variables that it reads may have."""
        found = self.changed()
        namespace = self._shell.user_ns if self._now else None
        standing = {
            k: v for k, v in self._now.items() if k not in found and k not in self._left and _runs_in(namespace, v)
        }
        return {**standing, **found} if standing else found

    def agree(self, entries: Mapping[Key, Any], left: Iterable[Key] = ()) -> None:
        """The other end has these; ``left``: but for those, which do not travel."""
        self._left = {key for key in self._left if key not in entries} | set(left)
        for key, value in entries.items():
            if value is GONE:
                self._agreed.pop(key, None)
            else:
                self._agreed[key] = value

    def agree_about(self, keys: Iterable[Key]) -> None:
        """Each end has made these what they are by itself: neither sends its own while they stay as they are."""
        if self._shell is not None and keys:
            now = self._look()
            self.agree({key: now.get(key, GONE) for key in keys}, keys)

    def receive(self, entries: Any) -> dict[Key, BaseException]:
        """Put the other end's entries in force; those that cannot be, with the reason."""
        if self._shell is None or not isinstance(entries, Mapping) or not entries:
            return {}
        failed = self._give(entries)
        now = self._look()
        self.agree({key: now.get(key, GONE) for key in entries})
        return failed

    def enter(self, entries: Any) -> dict[Key, BaseException]:
        """As ``receive``, and whatever else is not as agreed (somebody else's cells changed it) is made so."""
        failed = self.receive(entries)
        if self._shell is not None:
            others = _turned(self._agreed, self._look())
            if any(map(shell_parts.makes_printers, entries if isinstance(entries, Mapping) else ())):
                others = {
                    key: value for key, value in others.items() if not shell_parts.of_figures(key)
                }  # new ones, which go home
            if others:
                self._give(others)
                now = self._look()
                self.agree({key: now.get(key, GONE) for key in others})
        return failed

    def _give(self, entries: Mapping[Key, Any]) -> dict[Key, BaseException]:
        failed: dict[Key, BaseException] = {}
        with self._shell.builtin_trap:  # as in a cell: extensions and installers ask for get_ipython()
            for key in sorted(entries, key=lambda key: _ORDER.get(key[0], len(_ORDER))):
                try:
                    if type(entries[key]) is Placeholder:
                        raise LookupError("it stays where it was made")
                    GIVES[key[0]](self._shell, key, entries[key])
                except Exception as exc:
                    failed[key] = exc
        return failed

    def _look(self) -> dict[Key, Any]:
        """All entries of this shell; of the parts that are as they were when last looked at, the same."""
        seen = _glance(self._shell)
        as_before = False
        with contextlib.suppress(Exception):  # an object of the user's that does not compare
            as_before = bool(seen == self._seen)
        if not as_before:
            self._seen = [_copy(each) for each in seen]
            self._entries = {key: value for look in LOOKS for key, value in look(self._shell).items()}
        others = {**loggers.look_logging(), **shell_outputs.look_outputs()}  # made of few parts: looked at each time
        return {**self._entries, **others} if others else self._entries


def _runs_in(namespace: Any, value: Any) -> bool:
    """Whether this is code of the notebook, or holds some."""
    if type(value) is tuple:
        return any(_runs_in(namespace, each) for each in value)
    if type(value) is functools.partial:
        return _runs_in(namespace, value.func)
    return getattr(value, "__globals__", None) is namespace or type(value).__module__ == "__main__"


def _differences(agreed: Mapping[Key, Any], now: Mapping[Key, Any]) -> dict[Key, Any]:
    found = {key: value for key, value in now.items() if not same(agreed.get(key, GONE), value)}
    found.update((key, GONE) for key in agreed if key not in now)
    return found


def _turned(agreed: Mapping[Key, Any], now: Mapping[Key, Any]) -> dict[Key, Any]:
    """What has to be given so that ``now`` becomes as agreed."""
    return {key: agreed.get(key, GONE) for key in _differences(agreed, now)}


def _glance(shell: Any) -> list[Any]:
    """References to everything that the entries are made of, to be compared with an earlier look: ``==`` tries identity first."""
    magics = shell.magics_manager.magics
    seen: list[Any] = [
        shell.InteractiveTB.mode,
        shell.call_pdb,
        shell.extension_manager.loaded,
        magics["line"],
        magics["cell"],
    ]
    seen.append(shell_parts.for_later(shell))
    seen += [getattr(shell, name) for name in shell_parts.READERS]
    for _name, each in shell_parts.owners(shell):
        values = each._trait_values
        seen += [values.get(name) for name, _default in shell_parts.settings_of(each)]
        if "type_printers" in values:
            seen.append(values["type_printers"])
            seen.append(values.get("deferred_printers"))
    return seen


def _copy(value: Any) -> Any:
    return value.copy() if type(value) in (list, dict, set) else value


def name_of(key: Key) -> str:
    """How a user knows an entry."""
    word, *rest = key
    if word == "setting":
        return (
            f"the setting {rest[1]} of the {rest[0]}"
            if rest[0] == "shell" or " " in rest[0]
            else f"the setting {rest[0]}.{rest[1]}"
        )
    if word == "printer":
        return f"the formatter for {rest[1]}.{rest[2]} ({rest[0]})".replace("__main__.", "")
    if word == "magic":
        return f"{'%' if rest[0] == 'line' else '%%'}{rest[1]}"
    if word == "extension":
        return f"the extension {rest[0]}"
    if word == "formatter":
        return f"the formatter of {rest[0]}"
    if word == "output":
        return f"the output of {rest[0]}"
    if word == "transformers":
        return rest[0].replace("_", " ")
    return f"the {word} of logger {rest[0] or 'root'}"


def advice(failed: Mapping[Key, object], where: str = "on the worker") -> str:
    """One line for entries of one shell that are not in force in the other, "" for none."""
    if not failed:
        return ""
    found = "; ".join(f"{name_of(key)}: {_reason(why)}" for key, why in failed.items())
    return f"not in force {where}: {found}. A cell that begins with %%remote everywhere sets it up on both sides"


def _reason(why: object) -> str:
    text = getattr(why, "what", None) or (f"{type(why).__name__}: {why}" if isinstance(why, Exception) else str(why))
    return " ".join(str(text).split())[:160]
