"""The words after ``%%remote`` and ``%remote``: parsed once, into frozen nouns.

``OPTIONS`` and ``COMMANDS`` are the whole grammar; the documentation and the error messages are made from them.
"""

from __future__ import annotations

import difflib
import keyword
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from cellferry.capture.quantities import read_count, read_duration, read_money, read_size
from cellferry.errors import BadValue, NotYet, RequestError, UnknownOption
from cellferry.model import CellRequest, Hardware

PROVIDERS = ("local", "ssh", "slurm", "aws", "sky", "demo")
LAUNCHERS = ("torchrun", "ray")
ON_DISCONNECT = ("keep", "stop")
AVAILABLE = frozenset({"local", "ssh", "aws", "demo"})
"""Those of the providers that this release has."""
PERIODS = ("notebook", "day", "month")

Fields = Mapping[str, object]


@dataclass(frozen=True)
class Option:
    """One key or flag of ``%%remote``.

    ``read`` turns the value into fields of CellRequest (or of its Hardware) and raises ValueError saying what a
    value looks like; None for a flag. ``later``: parsed, but no release can serve it yet.
    """

    name: str
    meaning: str
    example: str
    read: Callable[[str], Fields] | None
    later: bool = False


@dataclass(frozen=True)
class CommandForm:
    """One ``%remote`` command: which arguments it takes. ``least``/``most``: how many plain words."""

    name: str
    meaning: str
    example: str
    least: int = 0
    most: int = 0
    takes_request: bool = False
    flags: tuple[str, ...] = ()
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Command:
    """One ``%remote`` line, parsed. ``options`` holds ``--key value`` pairs, ``flags`` the bare ``--flag`` words.

    ``request`` carries the hardware words of ``offers`` and ``up``; ``amount_microusd`` the amount of ``budget``.
    """

    name: str
    args: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    request: CellRequest = field(default_factory=CellRequest)
    amount_microusd: int | None = None
    line: str = ""


# ---- values ---------------------------------------------------------------------------------------------------------


def _gpu(text: str) -> Fields:
    what, colon, count = text.lower().partition(":")
    number = read_count(count) if colon else 1
    if what[:1].isdigit():
        if what.isdigit():
            raise ValueError("it is a name (`rtx4090`), or the least memory with its unit (`80G`)")
        return {"gpu_memory_bytes": read_size(what), "gpu_count": number}
    if not what or not what.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ValueError("it is a name with an optional count, or the least memory of one")
    return {"gpu": what, "gpu_count": number}


def _word(text: str) -> str:
    if not text or not text.isprintable() or any(c.isspace() for c in text):
        raise ValueError("it is one word")
    return text


def _worker_name(text: str) -> str:
    plain = text.replace("-", "").replace("_", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum()) or not text[0].isalnum() or len(text) > 64:
        raise ValueError("a name is made of letters, digits, `-`, `_` and `.`, starts with a letter or digit "
                         "and has at most 64 characters")
    return text


def _one_of(text: str, valid: Iterable[str]) -> str:
    if text not in valid:
        near = _nearest(text, valid)
        raise ValueError((f"did you mean `{near}`? It" if near else "it") + f" is one of {', '.join(valid)}")
    return text


def _providers(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_one_of(name.strip(), PROVIDERS) for name in text.split(",")))


def _files(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise ValueError("it is a list of paths or patterns joined with `,`")
    return names


def _returns(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    bad = next((n for n in names if not n.isidentifier() or keyword.iskeyword(n)), None)
    if bad is not None:
        raise ValueError(f"`{bad}` is not a Python name; it is a list of names joined with `,`, or nothing")
    return tuple(dict.fromkeys(names))


def _as(field_name: str, read: Callable[[str], object]) -> Callable[[str], Fields]:
    return lambda text: {field_name: read(text)}


_HARDWARE = frozenset(Hardware.__dataclass_fields__)

OPTIONS: Mapping[str, Option] = MappingProxyType({o.name: o for o in (
    Option("gpu", "accelerator by name, with a count, or the least memory of one", "gpu=a100", _gpu),
    Option("cpus", "at least so many processor cores", "cpus=8", _as("cpus", read_count)),
    Option("memory", "at least so much memory", "memory=32G", _as("memory_bytes", read_size)),
    Option("disk", "at least so much disk", "disk=200G", _as("disk_bytes", read_size)),
    Option("provider", "where; several joined with `,` are tried by price", "provider=local",
           _as("providers", _providers)),
    Option("region", "narrow the search to one region", "region=eu-central-1", _as("region", _word)),
    Option("host", "narrow the search to one host", "host=gpu-box", _as("host", _word)),
    Option("spot", "allow interruptible capacity", "spot", None),
    Option("budget", "most this cell may spend, in US dollars", "budget=5", _as("budget_microusd", read_money)),
    Option("timeout", "end of the cell", "timeout=2h", _as("timeout_s", read_duration)),
    Option("retry", "run the cell again, so many times at most, when its worker dies under it", "retry=2",
           _as("retry", read_count)),
    Option("checkpoint", "save what the cell has made, this often, for a retried one to go on with", "checkpoint=60s",
           _as("checkpoint_s", read_duration)),
    Option("checkpoint_names", "save these names, not all that the cell has bound or changed",
           "checkpoint_names=model,step", _as("checkpoint_names", _returns)),
    Option("idle", "how long an unused worker is kept", "idle=10m", _as("idle_s", read_duration)),
    Option("name", "the worker's name; cells that name the same worker share its memory", "name=train",
           _as("name", _worker_name)),
    Option("nodes", "several workers as one", "nodes=4", _as("nodes", read_count), later=True),
    Option("launch", "how several workers start", "launch=torchrun",
           _as("launch", lambda text: _one_of(text, LAUNCHERS)), later=True),
    Option("files", "data files to send besides those the cell names literally", "files=data/*.csv",
           _as("files", _files)),
    Option("env", "the packages there: `auto` (found), `full` (all that are here), a file, or `python:PATH` there",
           "env=requirements.txt", _as("env", _word)),
    Option("secrets", "environment variables here that the cell may read there", "secrets=HF_TOKEN",
           _as("secrets", _returns)),
    Option("allow", "variables that may travel although they look like credentials", "allow=token",
           _as("allow", _returns)),
    Option("returns", "bring back only these names; `returns=` for none", "returns=model,loss",
           _as("returns", _returns)),
    Option("detach", "give the prompt back; collect with `%remote attach`", "detach", None),
    Option("on_disconnect", "the notebook is gone while the cell runs: `keep` lets it go on, `stop` interrupts it",
           "on_disconnect=stop", _as("on_disconnect", lambda text: _one_of(text, ON_DISCONNECT))),
    Option("meanwhile", "run on this machine until the one that is asked for has been found", "meanwhile", None),
    Option("everywhere", "run here and on every worker of this notebook, now and whenever one starts", "everywhere", None),
    Option("estimate", "show offers, price and what would be shipped; run nothing", "estimate", None),
)})

COMMANDS: Mapping[str, CommandForm] = MappingProxyType({c.name: c for c in (
    CommandForm("status", "the workers of this notebook", "%remote status"),
    CommandForm("offers", "what could be had, at which price", "%remote offers gpu=a100", takes_request=True,
                flags=("refresh",)),
    CommandForm("up", "start a worker now", "%remote up name=train", takes_request=True),
    CommandForm("extend", "let a worker run longer, for more money", "%remote extend train 5", least=2, most=2),
    CommandForm("reap", "end machines that nobody owns", "%remote reap"),
    CommandForm("down", "end a worker", "%remote down train", most=1, flags=("all",)),
    CommandForm("cost", "what was spent", "%remote cost --by day", flags=("everybody",),
                keys=(("by", ("notebook", "worker", "day", "person", "cell")),)),
    CommandForm("budget", "show or set the limit", "%remote budget 20 --per day", most=1, keys=(("per", PERIODS),)),
    CommandForm("runs", "cells that run, wait or were detached", "%remote runs", flags=("all",)),
    CommandForm("attach", "show the outputs of a run and bring its values home", "%remote attach", most=1),
    CommandForm("logs", "the text that a run has written, and its worker's log", "%remote logs", most=1),
    CommandForm("interrupt", "interrupt the running cell, or a run", "%remote interrupt", most=1),
    CommandForm("fetch", "bring values home that stayed on the worker", "%remote fetch model", least=1, most=1000),
    CommandForm("put", "send a file to the worker", "%remote put data.csv", least=1, most=1000),
    CommandForm("get", "bring a file home", "%remote get model.pt", least=1, most=1000),
    CommandForm("everywhere", "the cells that run on every worker; drop one, or `all`", "%remote everywhere drop 1", most=2),
    CommandForm("env", "the packages here and on the worker", "%remote env"),
    CommandForm("doctor", "check this installation", "%remote doctor"),
)})


# ---- %%remote -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def parse_request(line: str) -> CellRequest:
    """The request that the words after ``%%remote`` make. Cached, since a cell is run again more often than edited.

    Raises UnknownOption or BadValue; both name the nearest valid word and show a right line.
    """
    return _request(_split(line, "%%remote timeout=2h"), line)


def later_options(request: CellRequest) -> list[str]:
    """The options of ``request``, as typed, that are valid and that this release cannot serve yet."""
    return list(_later(request))


@lru_cache(maxsize=256)
def _later(request: CellRequest) -> tuple[str, ...]:
    later: list[str] = []
    for word in _split(request.line, ""):
        name = word.partition("=")[0]
        option = OPTIONS.get(name)
        elsewhere = name == "provider" and not AVAILABLE.issuperset(request.providers)
        # `nodes=1` is what every cell has anyway.
        if option is not None and (option.later or elsewhere) and not (name == "nodes" and request.nodes == 1):
            later.append(word)
    return tuple(later)


def check_supported(request: CellRequest) -> None:
    """Raise NotYet if ``request`` asks for something that this release cannot do; called before anything is started."""
    later = later_options(request)
    if not later:
        return
    kept = [word for word in _split(request.line, "") if word not in later]
    raise NotYet(
        f"{_quoted(later)}: understood, but not there yet.",
        f"leave {'it' if len(later) == 1 else 'them'} out: {shlex.join(['%%remote', *kept])}",
    )


def _request(words: Iterable[str], line: str, door: str = "%%remote") -> CellRequest:
    hardware: dict[str, object] = {}
    fields: dict[str, object] = {"line": line.strip()}
    seen: set[str] = set()
    for word in words:
        name, equals, value = word.partition("=")
        option = _option(name, word, door)
        if name in seen:
            raise BadValue(f"`{name}` is given twice.", f"keep one of them, for example: {door} {option.example}")
        seen.add(name)
        for key, read in _value(option, equals, value, door).items():
            (hardware if key in _HARDWARE else fields)[key] = read
    if "everywhere" in seen and len(seen) > 1:
        raise BadValue("`everywhere` stands alone: the cell runs here and on whatever workers there are.", f"{door} everywhere")
    request = CellRequest(**fields)  # type: ignore[arg-type]
    return replace(request, hardware=Hardware(**hardware)) if hardware else request  # type: ignore[arg-type]


def _option(name: str, word: str, door: str) -> Option:
    option = OPTIONS.get(name)
    if option is not None:
        return option
    bare = name.lstrip("-").lower()
    if not bare:
        raise BadValue(f"`{word}` has no key before the `=`.", f"write key=value without blanks: {door} gpu=a100")
    near = _nearest(bare, OPTIONS)
    known = "" if near else f"The options are {', '.join(OPTIONS)}. "
    raise UnknownOption(
        f"`{name}` is not an option of {door}. {known}".rstrip(),
        f"did you mean `{near}`? For example: {door} {OPTIONS[near].example}" if near else f"{door} timeout=2h",
    )


def _value(option: Option, equals: str, value: str, door: str) -> Fields:
    example = f"for example: {door} {option.example}"
    if option.read is None:
        if equals:
            raise BadValue(f"`{option.name}` is a flag and takes no value.", example)
        return {option.name: True}
    if not equals or (not value and option.name != "returns"):
        raise BadValue(f"`{option.name}` needs a value, written without blanks around the `=`.", example)
    try:
        return option.read(value)
    except ValueError as error:
        raise BadValue(f"`{option.name}={value}` cannot be used: {error}.", example) from None


# ---- %remote --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def parse_command(line: str) -> Command:
    """The command that the words after ``%remote`` make; no words at all mean ``status``.

    Raises UnknownOption for a command or flag that does not exist, BadValue for arguments that do not fit.
    """
    words = _split(line, "%remote status") or ["status"]
    form = COMMANDS.get(words[0])
    if form is None:
        near = _nearest(words[0], COMMANDS)
        raise UnknownOption(
            f"`{words[0]}` is not a command of %remote. The commands are {', '.join(COMMANDS)}.",
            f"did you mean `{near}`? For example: {COMMANDS[near].example}" if near else "%remote status",
        )
    if form.takes_request:
        flags = frozenset(word[2:] for word in words[1:] if word.startswith("--") and word[2:] in form.flags)
        asked = [word for word in words[1:] if word[2:] not in flags]
        return Command(form.name, flags=flags, request=_request(asked, shlex.join(asked), f"%remote {form.name}"), line=line.strip())
    return _command(form, words[1:], line)


def _command(form: CommandForm, words: list[str], line: str) -> Command:
    args: list[str] = []
    flags: set[str] = set()
    options: dict[str, str] = {}
    pending = iter(words)
    for word in pending:
        if not word.startswith("--"):
            args.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if name in form.flags and not equals:
            flags.add(name)
        else:
            options[name] = _command_option(form, name, value if equals else next(pending, ""))
    _check_arguments(form, args, flags)
    amount = _amount(form, args[-1]) if form.name in ("budget", "extend") and args else None
    return Command(form.name, tuple(args), frozenset(flags), MappingProxyType(options), CellRequest(), amount,
                   line.strip())


def _command_option(form: CommandForm, name: str, value: str) -> str:
    valid = dict(form.keys).get(name)
    if valid is None:
        near = _nearest(name, [*form.flags, *dict(form.keys)])
        hint = f"did you mean `--{near}`? " if near else ""
        raise UnknownOption(
            f"`--{name}` is not an option of %remote {form.name}.", f"{hint}For example: {form.example}"
        )
    try:
        return _one_of(value, valid)
    except ValueError as error:
        raise BadValue(f"`--{name} {value}` cannot be used: {error}.", f"for example: {form.example}") from None


def _check_arguments(form: CommandForm, args: list[str], flags: set[str]) -> None:
    most = 0 if flags else form.most
    if len(args) > most:
        raise BadValue(f"`{args[most]}` is one word too many for %remote {form.name}.", f"for example: {form.example}")
    if len(args) < form.least:
        raise BadValue(f"%remote {form.name} needs to know which one.", f"for example: {form.example}")


def _amount(form: CommandForm, text: str) -> int:
    try:
        return read_money(text)
    except ValueError as error:
        raise BadValue(f"`{text}` cannot be a budget: {error}.", f"for example: {form.example}") from None


# ---- words ----------------------------------------------------------------------------------------------------------


def _split(line: str, example: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError:
        raise BadValue("A quotation mark is not closed.", f"close it, for example: {example}") from None
    # A comment is dropped here and not by shlex, which would also cut `name=a#b`.
    end = next((i for i, word in enumerate(words) if word.startswith("#")), len(words))
    return words[:end]


def _nearest(word: str, valid: Iterable[str]) -> str | None:
    names = list(valid)
    prefixed = [name for name in names if len(word) > 1 and (name.startswith(word) or word.startswith(name))]
    return next(iter(difflib.get_close_matches(word, names, 1, 0.5) or prefixed), None)


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


__all__ = ["COMMANDS", "OPTIONS", "Command", "CommandForm", "Option", "RequestError", "check_supported",
           "later_options", "parse_command", "parse_request"]
