"""Notebooks as tests read them, and the ways one is run: as it is, or with ``%%remote`` on its cells."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
NASTY = ROOT / "tests" / "notebooks"
EXAMPLES = ROOT / "examples"
MAGIC = "%%remote\n"


@dataclass(frozen=True)
class Source:
    """One code cell. ``same_side``: it holds on to something alive (a generator, an open file, a task, a module's
    settings) of the cell above, so it must run where that one ran."""

    text: str
    same_side: bool = False


@dataclass(frozen=True)
class Step:
    """One cell of a run, as sent to the kernel."""

    text: str
    remote: bool

    @property
    def offset(self) -> int:
        """How many lines of the cell lie above the source."""
        return MAGIC.count("\n") if self.remote else 0


def all_notebooks() -> list[Path]:
    """Every notebook whose remote run must equal its local one; companion modules begin with "nearby"."""
    nasty = [path for path in sorted(NASTY.glob("*.py")) if not path.name.startswith("nearby")]
    # the tour is about machines and money: it has no local counterpart, and a test of its own in doors/
    return nasty + sorted(path for path in EXAMPLES.glob("*.ipynb") if path.name != "tour.ipynb")


def read(path: Path) -> list[Source]:
    """The code cells of an ``.ipynb``, or of a ``.py`` in percent format with IPython's syntax as it is typed.

    ``# %%`` begins a cell, ``# %% same side`` one that stays with the cell above; text before the first is a title.
    In an ``.ipynb`` the magics of cellferry are taken off: what remains is the notebook as it would be without it.
    """
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        texts = [_without_cellferry(cell.source) for cell in cells if cell.cell_type == "code"]
        return [Source(text) for text in texts if text.strip()]
    found: list[Source] = []
    lines: list[str] = []
    header = ""
    for line in [*path.read_text().splitlines(), "# %%"]:
        if line.startswith("# %%"):
            text = "\n".join(lines).strip("\n")
            if header and text:
                found.append(Source(text, same_side="same side" in header))
            header, lines = line, []
        else:
            lines.append(line)
    return found


def _without_cellferry(text: str) -> str:
    if text.startswith("%%remote") and "estimate" in text.splitlines()[0].split():
        return ""  # it runs nothing
    kept = [line for line in text.splitlines() if not line.startswith(("%%remote", "%remote", "%load_ext cellferry"))]
    return "\n".join(kept)


def as_it_is(sources: list[Source]) -> list[Step]:
    """The yardstick: every cell local. The first cell stands where the others load the extension."""
    return [Step("pass", False), *(Step(source.text, False) for source in sources)]


def all_remote(sources: list[Source]) -> list[Step]:
    return _steps([True] * len(sources), sources)


def alternating(sources: list[Source], *, remote_first: bool) -> list[Step]:
    """Every other cell remote, so that each cell finds on one side what was left on the other."""
    sides: list[bool] = []
    for source in sources:
        before = sides[-1] if sides else not remote_first
        sides.append(before if source.same_side and sides else not before)
    return _steps(sides, sources)


def mixed(sources: list[Source], seed: int) -> list[Step]:
    """Each cell on a side that the seed draws, so that what one side left is found after any number of cells."""
    draw = random.Random(seed)
    sides: list[bool] = []
    for source in sources:
        sides.append(sides[-1] if source.same_side and sides else draw.random() < 0.5)
    return _steps(sides, sources)


def _steps(remote: list[bool], sources: list[Source]) -> list[Step]:
    cells = [Step((MAGIC if there else "") + s.text, there) for there, s in zip(remote, sources, strict=True)]
    return [Step("%load_ext cellferry", False), *cells]
