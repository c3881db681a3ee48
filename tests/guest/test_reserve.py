"""Space on the worker's disk with which a cell can clean up a disk that is full. On a real file system of its own."""

from __future__ import annotations

import errno
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellferry.guest.reserve import RESERVE_BYTES, STEP_BYTES, Reserve, refusal
from cellferry.link.refused import why_refused


@pytest.fixture
def disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="d") as place:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True)
        if done.returncode:
            pytest.skip("no file system can be mounted here")
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def _fill(disk: Path, name: str = "fill") -> None:
    with (disk / name).open("ab", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))


def _write(disk: Path, number: int) -> int:
    (disk / f"run{number}").write_bytes(bytes(4096))
    return number


def test_what_must_be_written_is_written_although_the_disk_is_full(disk: Path) -> None:
    reserve = Reserve(disk / "reserve")
    assert (disk / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    assert reserve.write(lambda: _write(disk, 0)) == (0, False)
    _fill(disk)
    assert reserve.write(lambda: _write(disk, 1)) == (1, True)
    assert reserve.write(lambda: _write(disk, 2)) == (2, False), "one step is enough for several"


def test_whoever_fills_it_again_and_again_is_refused_in_the_end(disk: Path) -> None:
    reserve = Reserve(disk / "reserve")
    for number in range(RESERVE_BYTES // STEP_BYTES):
        _fill(disk)
        assert reserve.write(lambda number=number: _write(disk, number)) == (number, True)
    _fill(disk)
    with pytest.raises(OSError) as caught:
        reserve.write(lambda: _write(disk, 99))
    assert refusal(caught.value)["no_room"]
    assert type(why_refused("w", refusal(caught.value))).__name__ == "DiskFull"


def test_it_is_filled_again_where_there_is_space(disk: Path) -> None:
    reserve = Reserve(disk / "reserve")
    _fill(disk)
    reserve.write(lambda: _write(disk, 1))
    reserve.refill()
    assert (disk / "reserve").stat().st_size < RESERVE_BYTES, "not from what a cell has just won"
    (disk / "fill").unlink()
    reserve.refill()
    assert (disk / "reserve").stat().st_size == RESERVE_BYTES


def test_other_errors_are_not_about_space(disk: Path) -> None:
    reserve = Reserve(disk / "reserve")

    def broken() -> None:
        raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        reserve.write(broken)
    assert not refusal(PermissionError(errno.EACCES, "no"))["no_room"]
    assert type(why_refused("w", {"error": "ValueError", "what": "x"})).__name__ == "ParcelError"
