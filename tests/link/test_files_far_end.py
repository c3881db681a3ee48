"""The worker's end of files, by itself: what it takes, what it refuses, and what it says of both."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import xxhash

from cellferry.errors import ChunkMismatch, ParcelError
from cellferry.guest.files import WorkFiles
from cellferry.link.beneath import Place, stays_inside
from cellferry.link.chunked import Coming, bring_files
from cellferry.link.files import FileSync, left_behind
from cellferry.link.wanted import Wanted
from cellferry.parcels.filechunks import chunk_names, file_digests, part_of
from cellferry.parcels.leaves import CHUNK_BYTES


@pytest.fixture
def files(tmp_path: Path) -> WorkFiles:
    found = WorkFiles(tmp_path / "work")
    found.root.mkdir(parents=True)
    return found


def _sums(*pieces: bytes) -> bytes:
    return b"".join(xxhash.xxh3_128_digest(piece) for piece in pieces)


def test_a_new_file_has_its_name_when_it_is_whole(files: WorkFiles) -> None:
    files.receive([["a/b.bin", 0], ["a/b.bin", 3]], [b"abc", b"de", _sums(b"abc", b"de")])
    target = files.root / "a" / "b.bin"
    assert not target.exists() and part_of(target).read_bytes() == b"abcde"
    assert files.listing() == [] and files.changed() == [], "a part is no file yet"
    assert files.placed([["a/b.bin", 5, 1_000_000_000, True]]) == {}
    assert target.read_bytes() == b"abcde" and target.stat().st_mode & 0o100
    assert files.changed() == [], "the client knows it"
    target.write_bytes(b"longer than it was")
    assert [file["path"] for file in files.changed()] == ["a/b.bin"]


def test_a_file_that_is_there_is_changed_in_place_and_cut(files: WorkFiles) -> None:
    (files.root / "f").write_bytes(b"0123456789")
    files.receive([["f", 2]], [b"xx", _sums(b"xx")])
    assert files.placed([["f", 6, 0, False]]) == {}
    assert (files.root / "f").read_bytes() == b"01xx45"


def test_a_damaged_piece_is_told_and_not_used(files: WorkFiles) -> None:
    files.receive([["f", 0]], [b"abc", _sums(b"abd")])
    ((name, (_number, text)),) = files.placed([["f", 3, 0, False]]).items()
    assert name == "f" and "not what was sent" in text and not (files.root / "f").exists()


@pytest.mark.parametrize("path", ["/etc/passwd-of-nobody", "../../../../out", "link/out"])
def test_nothing_outside_is_written_or_read(files: WorkFiles, tmp_path: Path, path: str) -> None:
    (files.root / "link").symlink_to(tmp_path)
    files.receive([[path, 0]], [b"x", _sums(b"x")])
    assert "outside" in files.placed([[path, 1, 0, False]])[path][1]
    told: list[dict[str, object]] = []
    files.send(1, [[path, 0, 1]], lambda meta, buffers=(): told.append(meta))
    assert "outside" in str(told[-1]["errors"]) and not (tmp_path / "out").exists()
    assert files.wrong(path, [0], b"") == [0]


def test_three_folders_up_are_inside(files: WorkFiles) -> None:
    files.receive([["../../../data/x", 0]], [b"x", _sums(b"x")])
    assert files.placed([["../../../data/x", 1, 0, False]]) == {}
    assert (files.around / "data" / "x").read_bytes() == b"x" and files.changed() == []


def test_what_has_come_of_a_file_is_known_by_its_chunks(files: WorkFiles, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(b"a" * CHUNK_BYTES + b"b" * CHUNK_BYTES + b"c")
    first = whole.read_bytes()[:CHUNK_BYTES]
    files.receive([["f", 0]], [first, _sums(first)])
    sizes, (digests,) = files.sums(["f"])
    assert sizes == [-1] and digests == file_digests(whole)[:16]
    assert files.wrong("f", [0], chunk_names(whole, [0])) == []
    assert files.wrong("f", [0], chunk_names(whole, [1])) == [0]
    assert files.sums(["none", "no/folder", "/x"]) == ([-1, -1, -1], [b"", b"", b""])


def test_a_file_that_is_gone_or_shorter_is_told(files: WorkFiles) -> None:
    (files.root / "short").write_bytes(b"ab")
    told: list[tuple[dict[str, object], object]] = []

    def send(meta: dict[str, object], buffers: Sequence[object] = ()) -> None:
        told.append((copy.deepcopy(meta), list(buffers)))  # a channel is done with both when it returns

    files.send(7, [["none", 0, 1], ["short", 0, 9], ["short", 0, 2]], send)
    (first, buffers), (last, _none) = told
    assert first["pieces"] == [["short", 0]] and bytes(buffers[0]) == b"ab"  # type: ignore[index]
    assert last["number"] == 7 and set(last["errors"]) == {"none", "short"}  # type: ignore[call-overload]


def test_absolute_paths_are_told_apart_by_what_the_worker_sees(files: WorkFiles, tmp_path: Path) -> None:
    here = tmp_path / "here.csv"
    here.write_text("abc")
    assert files.seen([str(here), str(tmp_path / "elsewhere.csv")]) == [3, -1]
    (line,) = left_behind(Wanted(), ["/data/x.csv"])
    assert "not on the worker" in line and "!ln -s /data/x.csv ." in line


class Liar:
    """A worker that answers as this test says, through the frames of a link."""

    def __init__(self, answers: Sequence[tuple[dict[str, object], list[bytes]]]) -> None:
        self._answers = iter(answers)

    def tell(self, meta: dict[str, object], buffers: Sequence[object] = ()) -> None:
        self._number = meta.get("number")

    def wait(self, op: str) -> tuple[dict[str, object], list[bytes]]:
        meta, buffers = next(self._answers)
        return {"op": op, "number": self._number, **meta}, buffers


class Quiet:
    """A screen that nobody looks at."""

    def note(self, text: str) -> None: ...
    def progress(self, text: str) -> None: ...


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out", "", "a\0b"])
def test_a_name_that_leads_outside_is_not_taken(tmp_path: Path, name: str) -> None:
    assert not stays_inside(name)
    home = tmp_path / "home"
    home.mkdir()
    sync = FileSync(1000, Quiet())  # type: ignore[arg-type]
    came, notes = sync.bring(Liar([]), home, [{"path": name, "size": 1}], 0)  # type: ignore[arg-type]
    assert not came and "not taken" in notes[0]
    assert sync.get(Liar([({"files": [{"path": name, "size": 1}]}, [])]), home, "*") == []  # type: ignore[arg-type]


@pytest.mark.parametrize("piece", [["other", 0], ["f", 5], ["f", -1]])
def test_a_piece_that_nobody_asked_for_is_refused(tmp_path: Path, piece: list[object]) -> None:
    liar = Liar([({"pieces": [piece]}, [b"abc", _sums(b"abc")])])
    with pytest.raises(ParcelError, match="nobody asked"):
        bring_files(liar, [Coming("f", 6, Place(tmp_path, "f"))], lambda _size: None)  # type: ignore[arg-type]


def test_a_piece_that_was_damaged_on_the_way_home_is_refused(tmp_path: Path) -> None:
    liar = Liar([({"pieces": [["f", 0]]}, [b"abc", _sums(b"abd")])])
    with pytest.raises(ChunkMismatch):
        bring_files(liar, [Coming("f", 3, Place(tmp_path, "f"))], lambda _size: None)  # type: ignore[arg-type]
    assert not (tmp_path / "f").exists()
