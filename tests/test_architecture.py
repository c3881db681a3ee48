"""Reads the imports and holds them against `design.md`, section 2, "Who may import whom"."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cellferry"
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))

BASE = {"errors", "model", "config", "screen", "shared_folder"}
BELOW_JOURNEY = BASE | {
    "capture", "placement", "parcels", "environment", "ledger", "providers", "link", "guest", "worker", "fleet"
}  # fmt: skip
BESIDE_JOURNEY = {
    "accounts", "again", "answers", "baggage", "between", "errands", "everywhere", "outside", "packages", "payload", "presses", "runs",
    "settling", "waited",
}  # fmt: skip
"""Its steps that stand in modules of their own, decision 007."""
MAY_IMPORT: dict[str, set[str]] = {
    "errors": {"model"},
    "model": set(),
    "config": {"errors", "model"},
    "screen": {"model"},
    "shared_folder": set(),
    "capture": BASE,
    "placement": BASE,
    "parcels": BASE,
    "environment": BASE | {"presses"},
    "ledger": BASE,
    "providers": BASE | {"environment", "placement", "presses"},
    "link": BASE | {"parcels"},
    "guest": {"parcels", "presses"},
    "worker": BASE | {"parcels", "guest", "environment"},
    "fleet": BASE | {"placement", "ledger", "providers", "link"},
    "baggage": BELOW_JOURNEY,
    "outside": BELOW_JOURNEY,
    "between": BELOW_JOURNEY | {"errands", "presses", "waited"},
    "errands": BELOW_JOURNEY,
    "packages": BELOW_JOURNEY,
    "accounts": BELOW_JOURNEY,
    "runs": BELOW_JOURNEY | {"presses"},
    "payload": BELOW_JOURNEY,
    "answers": BELOW_JOURNEY | {"baggage", "payload"},
    "again": BELOW_JOURNEY | {"accounts"},
    "everywhere": BELOW_JOURNEY | {"baggage", "payload"},
    "presses": set(),
    "settling": BELOW_JOURNEY,
    "waited": BELOW_JOURNEY | {"presses", "runs"},
    "journey": BELOW_JOURNEY | BESIDE_JOURNEY,
    "jupyter": BASE | {"placement", "ledger", "fleet", "journey", "presses", "runs"},
    "cli": BASE | {"placement", "ledger", "fleet", "journey", "runs"},
    "testing": BASE | {"providers", "link"},
}
"""For each room, the others that it may name: at module level, in a function or for typing alone."""

HOOKS = {
    "cellferry.jupyter.magic", "cellferry.parcels.own_watch", "cellferry.worker.extension", "cellferry.parcels.checkpoint",
    "cellferry.errors.UnsupportedPython",
}  # fmt: skip
"""What ``__init__``'s hooks may load, inside a function."""

JUPYTER_SIDE = {"IPython", "ipykernel", "jupyter_server"}
JUPYTER_ROOMS = {"jupyter", "worker", "guest"}
VENDOR_SDKS = {"asyncssh", "azure", "boto3", "botocore", "google", "gpuhunt", "kubernetes", "oci", "paramiko", "sky"}
SDK_ROOMS = {"providers"}
SDK_MODULES = {"link/store_s3.py"}
"""The one place beside the providers, see docs/decisions/008."""

MAX_LINES = 400
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "misc", "common"}


@dataclass(frozen=True)
class Import:
    """One imported module: ``inside`` a function (or method) or not, and only for the type checker or not."""

    name: str
    line: int
    inside: bool
    typing_only: bool


@pytest.fixture(autouse=True)
def leaves_nothing() -> None:
    """Nothing is started here, and there are a thousand tests: to look once, when all are through, is enough."""


def imports_of(module: str) -> list[Import]:
    """Every module that a file of the package names in an import, absolute, ``from x import y`` as ``x.y``."""
    path = SOURCE / module
    return list(_walk(ast.parse(path.read_text(), str(path)), _package_of(module), inside=False, typing_only=False))


def _package_of(module: str) -> list[str]:
    return ["cellferry", *Path(module).parent.parts]


def _walk(node: ast.AST, package: list[str], *, inside: bool, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, inside, typing_only)
        elif isinstance(child, ast.ImportFrom):
            root = _absolute(child, package)
            for alias in child.names:
                yield Import(f"{root}.{alias.name}", child.lineno, inside, typing_only)
        else:
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            guard = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from _walk(child, package, inside=inside or is_function, typing_only=typing_only or guard)


def _absolute(node: ast.ImportFrom, package: list[str]) -> str:
    if not node.level:
        return node.module or ""
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def room_of(module: str) -> str:
    """``capture/request.py`` -> ``capture``; ``errors.py`` -> ``errors``; ``__init__.py`` -> ````."""
    first = Path(module).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def own_room(name: str) -> str | None:
    """The room that an absolute import names, "" for a name of the package itself, None for another package."""
    head, _, rest = name.partition(".")
    if head != "cellferry":
        return None
    first = rest.split(".")[0]
    return first if first in MAY_IMPORT else ""


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    room = room_of(module)
    if not room:
        pytest.skip("the hooks have a rule of their own")
    assert room in MAY_IMPORT, f"{module}: a room that the design does not know"
    wrong = []
    for item in imports_of(module):
        target = own_room(item.name)
        if target not in (None, "", room, *MAY_IMPORT[room]):
            wrong.append(f"{module}:{item.line} imports {item.name}")
    assert not wrong


def test_the_package_itself_loads_nothing_of_its_own() -> None:
    for item in imports_of("__init__.py"):
        if item.name.startswith("cellferry"):
            hooked = any(item.name.startswith(hook) for hook in HOOKS)
            assert item.inside and hooked, f"__init__.py:{item.line} imports {item.name}"


@pytest.mark.parametrize("module", MODULES)
def test_jupyter_stays_at_the_doors_and_over_there(module: str) -> None:
    if room_of(module) in JUPYTER_ROOMS:
        return
    wrong = [
        f"{module}:{item.line} imports {item.name}"
        for item in imports_of(module)
        if item.name.split(".")[0] in JUPYTER_SIDE and not (module == "__init__.py" and item.typing_only)
    ]
    assert not wrong


@pytest.mark.parametrize("module", MODULES)
def test_vendor_sdks_stay_inside_their_provider(module: str) -> None:
    wrong = [
        f"{module}:{item.line} imports {item.name}"
        for item in imports_of(module)
        if item.name.split(".")[0] in VENDOR_SDKS
        and not (item.inside and (room_of(module) in SDK_ROOMS or module in SDK_MODULES))
    ]
    assert not wrong


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_small_and_named_for_what_they_do(module: str) -> None:
    lines = len((SOURCE / module).read_text().splitlines())
    assert lines <= MAX_LINES, f"{module} has {lines} lines; the limit is {MAX_LINES}"
    assert not EMPTY_NAMES & set(Path(module).with_suffix("").parts), f"{module}: name it for what it does"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    text = (SOURCE / module).read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{module} has no docstring"


def test_the_rules_see_what_they_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader itself: nested, relative and type-only imports are all seen."""
    (tmp_path / "guest").mkdir()
    (tmp_path / "guest" / "bad.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from ..parcels import pack\n"
        "from . import near\n"
        "if TYPE_CHECKING:\n    from cellferry.link.http import WorkerHttp\n"
        "def f():\n    import cellferry.fleet\n"
    )
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    seen = {item.name: item for item in imports_of("guest/bad.py")}
    assert own_room("cellferry.parcels.pack") == "parcels" and "cellferry.parcels.pack" in seen
    assert own_room("cellferry.guest.near") == "guest" and "cellferry.guest.near" in seen
    assert seen["cellferry.link.http.WorkerHttp"].typing_only
    assert seen["cellferry.fleet"].inside
