"""Remote equals local: every notebook runs as it is, then with ``%%remote`` on its cells, and nobody can tell which.

All outputs and the namespace are compared cell by cell. ``remote`` puts the magic on every cell; the two alternating
ways put it on every other one, so that each cell works on what was left on the other side; the mixed ways draw each
cell's side from a seed. Neighbours take turns: of an older notebook one of the first three ways is in every run, of a newer one
``remote`` and one of the seeds; the others are nightly.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from . import notebook
from .compare import differences
from .kernel import Seen, run_all
from .notebook import Source, Step

WAYS: dict[str, Callable[[list[Source]], list[Step]]] = {
    "remote": notebook.all_remote,
    "remote-first": lambda sources: notebook.alternating(sources, remote_first=True),
    "local-first": lambda sources: notebook.alternating(sources, remote_first=False),
}
SEEDS = (1, 2, 3)
MIXED: dict[str, Callable[[list[Source]], list[Step]]] = {
    f"mixed-{seed}": partial(notebook.mixed, seed=seed) for seed in SEEDS
}
NEEDS = {"torch_training.py": "torch"}
"""Notebooks that need a package which is not a dependency of the tests everywhere."""


ROOT = Path(__file__).parents[2]
ACROSS: dict[str, str] = {
    "decorators.py": "functools.singledispatch of one Python has other parts than that of another, so it is refused with a remedy",
    "magics.py": "the interpreter does not know the source of a function that %%time ran, so it is refused with a remedy",
    "odd_values.py": "typing.Optional[str] and str | None are one type from 3.14 on, and two before",
    "globals_and_main.py": "a function that exec made there has no source, so it is refused with a remedy",
    "torch_training.py": "torch is offered for one Python here",
}
"""Notebooks that a worker with another Python cannot run as one with the same does, and why."""
if sys.version_info >= (3, 14):
    ACROSS["class_registries.py"] = ACROSS["decorators.py"]


KNOWN_LIMITS = {
    "big_outputs.py": "the last digits of a sum depend on how a frame's memory lies, which travels as one block",
    "pandas_frames.py": "objects inside a column of objects are not the same objects as names for them afterwards",
}
"""Notebooks with a cell that shows a limit of `docs/reference/limits.md`: they run and are compared all the same, and a
difference is reported as expected. A notebook leaves this list with the limit that it shows."""


FOLDERS = ("files_beside.py", "working_folder.py")
"""Notebooks about files: they run with the isolated folder as well, which stands in for that of a worker elsewhere."""

MIXED_EVERY_TIME: set[str] = {
    "class_registries.py", "display_bytes.py", "hostile_objects.py", "installed_patches.py", "library_frames.py",
    "module_state.py", "names_at_run_time.py", "shell_state.py", "views_of_containers.py", "working_folder.py",
}  # fmt: skip
"""Notebooks one of whose mixed ways is part of every run; those of the others are nightly."""


def _every_time(way: str, name: str, place: int) -> bool:
    """Whether this way of a notebook is part of every run, or nightly. ``place``: among the notebooks."""
    if way in MIXED:
        return name in MIXED_EVERY_TIME and way == list(MIXED)[place % len(MIXED)]
    if name in MIXED_EVERY_TIME:
        return way == "remote"
    return way == list(WAYS)[place % len(WAYS)]


def _turns(ways: Iterable[str], names: Iterable[str]) -> list[Any]:
    return [
        pytest.param(name, way, marks=() if _every_time(way, name, place) else pytest.mark.nightly, id=f"{way}-{name}")
        for place, name in enumerate(names)
        for way in ways
    ]


NOTEBOOKS = {path.name: path for path in notebook.all_notebooks()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Seen]]:
    """Runs steps in a new kernel, in a fresh folder that holds the notebook's companions."""

    def run_in_new_folder(path: Path, steps: list[Step], settings: dict[str, str] | None = None) -> list[Seen]:
        folder = tmp_path_factory.mktemp(path.stem) / "work"
        shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("*.ipynb", "__pycache__"))
        return run_all(steps, folder, settings)

    return run_in_new_folder


@pytest.fixture(scope="module")
def yardstick(run: Callable[..., list[Seen]]) -> Callable[[Path], list[Seen]]:
    """The notebook as it is, run once for all the ways it is compared with."""
    return cache(lambda path: run(path, notebook.as_it_is(notebook.read(path))))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), _turns([*WAYS, *MIXED], NOTEBOOKS))
def test_remote_equals_local(name: str, way: str, run, yardstick) -> None:
    check(NOTEBOOKS[name], way, (WAYS | MIXED)[way], run, yardstick)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), _turns([*WAYS, *MIXED], FOLDERS))
def test_equals_local_with_a_folder_of_its_own(name: str, way: str, run, yardstick) -> None:
    own = {"CELLFERRY_LOCAL_FOLDER": "own"}
    check(notebook.NASTY / name, way, (WAYS | MIXED)[way], partial(run, settings=own), yardstick)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("path", notebook.all_notebooks(), ids=lambda path: path.name)
def test_a_worker_with_another_python_equals_local(path: Path, run, yardstick, other_python: str) -> None:
    """The oldest Python with a newer one: each cell works on what the other Python has left."""
    if path.name in ACROSS:
        pytest.skip(ACROSS[path.name])
    check(path, "local-first", WAYS["local-first"], partial(run, settings={"CELLFERRY_ENV": f"python:{other_python}"}), yardstick)


@pytest.fixture(scope="module")
def other_python() -> str:
    """An environment with another Python and the packages of the tests, as `make pythons` leaves it."""
    here, version = f"{sys.version_info[0]}.{sys.version_info[1]}", "3.14" if sys.version_info < (3, 14) else "3.11"
    given = os.environ.get("CELLFERRY_OTHER_PYTHON")
    made = subprocess.run([given or ROOT / ".ci/pythons", *([] if given else ["--make"]), *(["-V"] if given else [version])],
                          capture_output=True, text=True, env=os.environ | {"HOME": str(Path("~" + getpass.getuser()).expanduser())})
    assert made.returncode == 0, f"no other Python than {here}: {made.stderr}"
    return given or made.stdout.strip().splitlines()[-1]


def check(path: Path, way: str, steps: Callable[[list[Source]], list[Step]], run, yardstick) -> None:
    if path.name in NEEDS:
        pytest.importorskip(NEEDS[path.name])
    expected = yardstick(path)
    got = run(path, steps(notebook.read(path)))
    found = differences(expected, got)
    if found and path.name in KNOWN_LIMITS:
        pytest.xfail(f"{KNOWN_LIMITS[path.name]}\n{found}")
    if found:
        pytest.fail(f"{path.name}, {way}:\n\n{found}", pytrace=False)
