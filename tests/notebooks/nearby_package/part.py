"""One module of the package; it reads a data file that lies beside it."""

from pathlib import Path

from . import inner


def double(x):
    return inner.twice(x)


def data():
    return (Path(__file__).parent / "data.txt").read_text().strip()
