"""The documentation against the code: nothing is left out, nothing is named that does not exist, the examples run.

In a page, a fenced block ``python cell`` is one notebook cell and runs as it is shown, ``python cell SomeError`` is one
that must fail with that error, and a ``text`` block right below a cell is its value as the notebook shows it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cellferry
from cellferry import cli, errors
from cellferry.capture.request import COMMANDS, OPTIONS, later_options, parse_command, parse_request
from cellferry.config import Cellferry
from cellferry.parcels.ambient import GROUP as AMBIENT_GROUP
from cellferry.providers.registry import GROUP as PROVIDERS_GROUP

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "cellferry"
REFERENCE = ROOT / "docs" / "reference"
TOP = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
PAGES = TOP + sorted((ROOT / "changes").glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
ERRORS = {n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, errors.CellferryError)}
TRAITS = Cellferry.class_traits(config=True)
FENCE = re.compile(r"^ {0,3}```([^\n`]*)\n(.*?)^ {0,3}```", re.M | re.S)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Example:
    """One cell of a page: its source, the error it must raise, the text of its value (None: not looked at)."""

    source: str
    error: str
    shown: str | None


def blocks(text: str) -> list[tuple[str, str, int, int]]:
    """(info string, body, start, end) of each fenced block."""
    return [(m[1].strip(), m[2], m.start(), m.end()) for m in FENCE.finditer(text)]


def examples(text: str) -> list[Example]:
    """The cells of a page, in order."""
    found = []
    every = [*blocks(text), ("", "", len(text), len(text))]
    for (info, body, _start, end), (info_2, body_2, start_2, _end) in itertools.pairwise(every):
        words = info.split()
        if words[:2] == ["python", "cell"]:
            shown = body_2.rstrip() if info_2 == "text" and not text[end:start_2].strip() else None
            found.append(Example(body.rstrip(), words[2] if len(words) > 2 else "", shown))
    return found


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of every table row of a page."""
    for line in page.read_text().splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def code_of(text: str) -> list[str]:
    """What stands between single backticks, outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


# ---- the reference is complete --------------------------------------------------------------------------------------


def _row_for(page: str, begins: str) -> list[str]:
    found = [row for row in rows(REFERENCE / page) if re.match(rf"`{re.escape(begins)}(?![\w-])", row[0])]
    assert found, f"docs/reference/{page} has no row for `{begins}`"
    return found[0]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_its_row(name: str) -> None:
    row = _row_for("magic.md", name)
    assert all(row), f"a cell of the row for {name} is empty"
    assert (row[3] == "not yet") == OPTIONS[name].later, f"magic.md says {row[3]!r} of {name}"


def test_the_option_table_names_no_other() -> None:
    table = [re.match(r"`(\w+)", row[0]) for row in rows(REFERENCE / "magic.md")]
    assert [found[1] for found in table if found] == list(OPTIONS), "magic.md: the options in the grammar's order"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_command_has_its_row(name: str) -> None:
    from cellferry.jupyter.commands import _COMMANDS

    row = _row_for("line-magic.md", f"%remote {name}")
    assert row[3].startswith("works" if name in _COMMANDS else "not yet"), f"line-magic.md says {row[3]!r} of {name}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_flags_and_keys_of_line_commands_are_shown(name: str) -> None:
    row = " ".join(_row_for("line-magic.md", f"%remote {name}"))
    missing = [f"--{word}" for word in (*COMMANDS[name].flags, *dict(COMMANDS[name].keys)) if f"--{word}" not in row]
    assert not missing


def test_the_terminal_command_is_told_as_it_is() -> None:
    words = re.findall(r"^    ([a-z][a-z-]+)(?:\s|$)", cli._parser().format_help(), re.M)
    assert {"status", "offers", "up", "down", "reap", "cost", "budget", "quota", "aws-policy", "doctor", "demo"} <= set(words)
    for name in words:
        row = _row_for("command.md", f"cellferry {name}")
        assert row[2].startswith("works"), f"command.md says {row[2]!r} of {name}"


@pytest.mark.parametrize("name", TRAITS)
def test_every_setting_has_its_row(name: str) -> None:
    row = _row_for("configuration.md", f"c.Cellferry.{name}")
    default = TRAITS[name].default()
    assert row[1] == f"`{default!r}`" or row[1] == f"`{default}`", f"{name}: the default is {default!r}"
    assert row[3] == f"`CELLFERRY_{name.upper()}`"
    assert row[2] and row[4]


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_explained(name: str) -> None:
    text = (REFERENCE / "errors.md").read_text()
    found = re.search(rf"^##+ {name}\n\n(.+?)(?=\n##|\Z)", text, re.M | re.S)
    assert found, f"errors.md does not explain {name}"


def test_the_error_tree_is_the_one_in_the_code() -> None:
    tree = re.compile(rf"^[|'\s-]*\b(?:{'|'.join(ERRORS)})\b", re.M)
    drawn = [m[0].rstrip() for m in tree.finditer((errors.__doc__ or "").split("\n\n")[1])]
    shown = blocks((REFERENCE / "errors.md").read_text())[0][1].splitlines()
    assert shown == drawn
    assert {line.split()[-1] for line in shown} == set(ERRORS)


def test_headings_of_the_error_page_follow_the_tree() -> None:
    headings = re.findall(r"^##+ (\w+)$", (REFERENCE / "errors.md").read_text(), re.M)
    assert headings == [line.split()[-1] for line in blocks((REFERENCE / "errors.md").read_text())[0][1].splitlines()]


@pytest.mark.parametrize("name", cellferry.__all__)
def test_every_public_name_is_told(name: str) -> None:
    assert _row_for("python.md", f"cellferry.{name}")[1]


def test_every_decision_is_linked_from_another_page() -> None:
    linked = {target.name for page in PAGES if "decisions" not in page.parts for target, _anchor, _text in links(page)}
    assert {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")} <= linked


def test_every_page_is_reached_from_the_readme() -> None:
    reached, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            pending += [target for target, _anchor, _text in links(page) if target.is_file()]
    pages = {page for page in PAGES if "decisions" not in page.parts and "changes" not in page.parts}
    assert pages - {ROOT / "CHANGELOG.md"} <= reached


def test_the_words_on_the_wire_are_the_ones_in_the_code() -> None:
    said: set[str] = set()
    for room in ("link", "guest", "parcels", "worker"):
        for path in (SOURCE / room).glob("*.py"):
            said |= set(re.findall(r'"op": "(\w+)"', path.read_text()))
    elsewhere = {"ready", "state", "stop", "closed", "look", "packages"}  # on the control socket; put into the link's own queue
    table = [row for row in rows(ROOT / "docs/design/architecture.md") if len(row) == 4]
    told = {word for row in table for cell in (row[0], row[2]) for word in re.findall(r"`(\w+)`", cell)}
    assert told == said - elsewhere


# ---- nothing is named that is not there -----------------------------------------------------------------------------


def links(page: Path) -> list[tuple[Path, str, str]]:
    """(target, anchor, text) of the relative links of a page."""
    found = []
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            found.append(((page.parent / path).resolve() if path else page, anchor, " ".join(text.split())))
    return found


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for target, anchor, text in links(ROOT / name):
        assert target.exists(), f"{name}: [{text}] leads to {target.relative_to(ROOT)}, which is not there"
        assert not anchor or anchor in _anchors(target), f"{name}: [{text}] leads to #{anchor}, which is not there"


@pytest.mark.parametrize("name", NAMES)
def test_settings_and_errors_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    settings = set(re.findall(r"\b(?:c|config)\.Cellferry\.([a-z]\w*)", text))
    settings |= {word.lower() for word in re.findall(r"\bCELLFERRY_([A-Z_]+)\b", text)}
    assert settings <= set(TRAITS), f"{name}: no such setting: {settings - set(TRAITS)}"
    wanted = {example.error for example in examples(text)} - {""}
    for word in wanted:
        assert word in ERRORS or hasattr(__import__("builtins"), word), f"{name}: no such error: {word}"


@pytest.mark.parametrize("name", NAMES)
def test_python_names_that_are_named_exist(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFERRY_CHECKPOINT", str(tmp_path))  # to look at `checkpoint_dir` makes it
    if name.startswith("docs/decisions/"):
        return  # a decision tells what was decided then
    known = {AMBIENT_GROUP, PROVIDERS_GROUP}  # groups of entry points are named like modules, and need not be any
    known |= {"cellferry.remote"} if name == "README.md" else set()  # planned
    for word in code_of((ROOT / name).read_text()):
        if re.fullmatch(r"cellferry(\.\w+)+", word) and word not in known:
            assert _exists(word), f"{name}: `{word}` does not exist"


def _exists(dotted: str) -> bool:
    parts = dotted.split(".")
    for at in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:at]))
        except ImportError:
            continue
        for part in parts[at:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_what_the_architecture_names_is_in_the_code() -> None:
    words = set(code_of((ROOT / "docs/design/architecture.md").read_text()))
    assert len(words) > 100
    assert not [word for word in sorted(words) if not _in_the_code(word)]


def _in_the_code(word: str) -> bool:
    """Whether a file, room, route or name is there; True for what is none of these (a path on a worker, a number)."""
    if word.startswith("tests/"):
        return (ROOT / word).exists()
    if word.endswith(".py"):
        return (SOURCE / word).is_file() or bool(list(SOURCE.rglob(word)))
    if re.fullmatch(r"\w+/", word) and word not in ("work/", "modules/", "client/"):
        return (SOURCE / word).is_dir()
    if route := re.fullmatch(r"(?:GET|POST) (/cellferry/\S+)", word):
        return route[1] in (SOURCE / "worker" / "routes.py").read_text()
    if re.fullmatch(r"[A-Za-z_]{4,}(\.[a-z_]+)*", word):
        return word.rpartition(".")[2] in _words_of_the_code()
    return True


@functools.cache
def _words_of_the_code() -> set[str]:
    return {word for path in SOURCE.rglob("*.py") for word in re.findall(r"\w+", path.read_text())}


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_that_are_named_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    text = (ROOT / name).read_text()
    named = {m[1] for m in re.finditer(r"(?:^|`)make ([a-z][\w-]*)", text, re.M)}
    assert named <= targets, f"{name}: make knows no {named - targets}"


@pytest.mark.parametrize("name", NAMES)
def test_lines_of_the_magics_parse(name: str) -> None:
    """Every ``%%remote`` and ``%remote`` line that a page shows; those of examples that must fail are run instead."""
    failing = {example.source for example in examples((ROOT / name).read_text()) if example.error}
    for _info, body, _start, _end in blocks((ROOT / name).read_text()):
        if body.rstrip() in failing:
            continue
        for line in body.splitlines():
            if line.startswith("%%remote") and "[" not in line:
                request = parse_request(line.removeprefix("%%remote"))
                assert not later_options(request), f"{name}: `{line}` is not there yet"
            elif line.startswith("%remote") and "[" not in line:
                parse_command(line.removeprefix("%remote"))


@pytest.mark.parametrize("name", NAMES)
def test_pages_hold_no_paths_of_one_machine(name: str) -> None:
    assert not re.search(r"(?<![\w.])/(work|root|home|tmp)/", (ROOT / name).read_text())


def test_the_changes_have_the_kinds_that_their_page_names() -> None:
    kinds = re.findall(r"`(\w+)`", re.search(r"Kinds: (.+?)\.", (ROOT / "changes/README.md").read_text())[1])  # type: ignore[index]
    for path in (ROOT / "changes").glob("*.md"):
        if path.name != "README.md":
            fits = re.fullmatch(rf"[\w+-]+\.({'|'.join(kinds)})\.md", path.name)
            assert fits, f"changes/{path.name}: call it <issue>.<kind>.md"


def test_the_readme_names_the_version_of_python_that_the_project_needs() -> None:
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    for page in ("README.md", "docs/reference/limits.md"):
        assert f"Python {needs} or newer" in (ROOT / page).read_text()


# ---- the examples run -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if examples((ROOT / name).read_text())])
def test_examples_run(name: str, tmp_path: Path) -> None:
    """All cells of a page in one new kernel, in an empty folder."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    if name.startswith("docs/tutorial/"):
        pytest.importorskip("sklearn")
    resources = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(), timeout=120, allow_errors=True, resources=resources)
    with client.setup_kernel():
        for example in examples((ROOT / name).read_text()):
            cell = nbformat.v4.new_code_cell(example.source)
            client.nb.cells.append(cell)
            client.execute_cell(cell, len(client.nb.cells) - 1)
            failed = [output for output in cell.outputs if output.output_type == "error"]
            told = ANSI.sub("", "\n".join(line for output in failed for line in output.traceback))
            expected = [example.error] if example.error else []
            assert [output.ename for output in failed] == expected, f"{example.source}\n{told}"
            if example.shown is not None:
                results = [output for output in cell.outputs if output.output_type == "execute_result"]
                assert [result.data["text/plain"] for result in results] == [example.shown], example.source


def test_the_reader_of_examples_reads_what_it_should() -> None:
    page = (
        "a\n```python cell\nx = 1\nx\n```\n\n```text\n1\n```\n\n"
        "```python cell NotYet\n%%remote gpu=a100\n```\n```python\nskip\n```\n"
    )
    assert examples(page) == [Example("x = 1\nx", "", "1"), Example("%%remote gpu=a100", "NotYet", None)]
