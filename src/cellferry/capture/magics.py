"""What IPython's magics and shell commands inside a cell mean for its names. Text in, nouns out; nothing is run.

The door has turned ``%time f(x)`` into ``get_ipython().run_line_magic('time', 'f(x)')``; this page knows which part
of such a line is code, which is a name, and which is neither.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Magic:
    """One magic or shell command, understood.

    ``code``: text in IPython's syntax that runs in the notebook's namespace. With ``isolated``, what it binds stays
    inside (``%timeit``); ``certain``: it surely runs; ``strict``: the last of it is Python for sure.
    ``expressions``: Python to be put into the text (``{x + 1}``, ``$x``). ``words``: the words of the text, which
    may name files or variables. ``dynamic``: the whole namespace may be read. ``opaque``: names may appear in the
    namespace that nobody can foresee.
    """

    code: tuple[str, ...] = ()
    isolated: bool = False
    certain: bool = False
    strict: bool = False
    expressions: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    dynamic: bool = False
    opaque: bool = False


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Magics that run code: the options of theirs that take a value.
_RUNS = {"time": "", "timeit": "nrpv", "prun": "lsTD", "memit": "rtic", "mprun": "fT", "lprun": "fmDTsu", "debug": "b"}
_CERTAIN = _set("time timeit prun")
# Cell magics whose body is not Python of this namespace; their line may still name variables.
_FOREIGN = _set(
    "bash sh script system sx ! cmd perl ruby pypy python python2 python3 html HTML svg SVG javascript js latex "
    "markdown writefile file remote ai cython sql R julia"
)
# Line magics that leave the namespace alone; what comes after others is not foreseen.
_QUIET = _set(
    "alias autoawait autocall autoindent automagic autoreload aimport bookmark cat cd clear colors conda config "
    "cp dhist dirs ed env gui hist history less ll lf lk ls lsmagic lx magic man matplotlib micromamba mamba mkdir "
    "more mv notebook page pastebin pdb pip uv popd pprint precision profile pushd pwd pycat quickref rehashx rm "
    "rmdir save set_env system sx sc tb time timeit unalias unload_ext xmode remote"
)
_INSPECT = _set("pinfo pinfo2 pdef pdoc pfile psource")
_WHOLE = _set("run who who_ls whos reset reset_selective edit macro rerun recall psearch store pylab")


def cell_magic(name: str, line: str, body: str) -> Magic:
    """``%%name line`` over ``body``. A magic that nobody knows is taken to run its body, perhaps."""
    if name == "capture":
        target = tuple(word for word in line.split()[:1] if word.isidentifier())
        return Magic(code=(body,), certain=True, strict=True, binds=target)
    if name in _RUNS:
        code, target = _after_options(line, _RUNS[name])
        return Magic(code=(code, body), isolated=name == "timeit", certain=name in _CERTAIN,
                     strict=name in _CERTAIN, binds=target, opaque=name not in _CERTAIN)
    expressions, words = expanded(line), _words(line)
    if name in _FOREIGN:
        return Magic(expressions=expressions, words=words, binds=_outputs(words), reads=_inputs(words),
                     opaque=name in ("cython", "R", "julia", "sql", "ai"))
    return Magic(code=(body,), expressions=expressions, words=words, opaque=True)


def line_magic(name: str, line: str) -> Magic:
    """``%name line``."""
    if name in _RUNS:
        code, target = _after_options(line, _RUNS[name])
        return Magic(code=(code,), isolated=name == "timeit", certain=name in _CERTAIN,
                     binds=target, opaque=name not in _CERTAIN)
    expressions, words = expanded(line), _words(line)
    if name in _INSPECT:
        return Magic(expressions=expressions, reads=tuple(word.partition(".")[0] for word in words))
    if name == "run":
        script = next((word for word in words if not word.startswith("-")), "")
        words = (*words, f"{script}.py") if script and "." not in script else words
    if name == "xdel":
        return Magic(deletes=words[-1:])
    return Magic(expressions=expressions, words=words, reads=_inputs(words), binds=_outputs(words),
                 dynamic=name in _WHOLE, opaque=name not in _QUIET)


def shell_command(text: str) -> Magic:
    """``!text``: Python's variables are put in where ``$x`` and ``{x}`` stand."""
    return Magic(expressions=expanded(text), words=_words(text))


def expanded(text: str) -> tuple[str, ...]:
    """The Python expressions that IPython puts into ``text``: ``{x + 1}``, ``$x``, ``$x.attribute``.

    Braces that do not balance mean that IPython leaves the text as it is.
    """
    if "$" not in text and "{" not in text:
        return ()
    try:
        return tuple(_fields(text))
    except ValueError:
        return ()


def _fields(text: str) -> Iterator[str]:
    for literal, field, spec, _ in string.Formatter().parse(text):
        yield from _dollars(literal)
        if field:
            yield field
        if spec:
            yield from _fields(spec)


def _dollars(literal: str) -> Iterator[str]:
    at = literal.find("$")
    while at >= 0:
        end = at + 1
        while end < len(literal) and (literal[end].isalnum() or literal[end] in "_.$"[: 3 if end == at + 1 else 2]):
            end += 1
        name = literal[at + 1 : end].partition(".")[0]
        if name.isidentifier():
            yield name
        at = literal.find("$", end)


def _after_options(line: str, with_value: str) -> tuple[str, tuple[str, ...]]:
    """The code that follows ``-n 5 -o`` and the like, and the variable that an option ``-v`` names."""
    rest, target = line.strip(), ""
    while rest.startswith("-") and rest[1:2] not in "0123456789(":
        word, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        if word == "--":
            break
        if len(word) == 2 and word[1] in with_value:
            value, _, rest = rest.partition(" ")
            target = value if word == "-v" else target
    return rest, ((target,) if target.isidentifier() else ())


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())


def _outputs(words: tuple[str, ...]) -> tuple[str, ...]:
    """Names after ``--out``, ``--err``, ``--proc`` (scripts) and ``-o`` (R and its like)."""
    return _following(words, ("--out", "--err", "--proc", "-o", "--output"))


def _inputs(words: tuple[str, ...]) -> tuple[str, ...]:
    return _following(words, ("-i", "--input"))


def _following(words: tuple[str, ...], options: tuple[str, ...]) -> tuple[str, ...]:
    joined = [f"{a}={b}" for a, b in pairwise(words) if a in options]
    pairs = (word.partition("=") for word in (*joined, *words))
    names = (name for option, _, value in pairs if option in options for name in value.split(","))
    return tuple(name for name in names if name.isidentifier())
