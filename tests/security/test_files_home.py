"""Files that a hostile worker offers: what comes home, where it lies, and what becomes of the files that are here."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import xxhash

from cellferry.link.arriving import from_store
from cellferry.link.artifacts import open_store
from cellferry.link.beneath import Place
from cellferry.link.files import FileSync
from cellferry.link.taking import EARLIER, MOST_FILES, is_data
from cellferry.parcels.leaves import CHUNK_BYTES
from journeys.conftest import NewUser, new_user  # noqa: F401 - a fixture

HOSTILE = [
    ".bashrc", ".ssh/authorized_keys", ".jupyter/jupyter_server_config.py", ".vscode/tasks.json", "a/.git2/hooks/post-checkout",
    "../out", "a/../../out", "/tmp/cellferry-out", "a//b", "./a", "a/.", "", ".", "a\0b",
]  # fmt: skip


class Worker:
    """A worker's end of the words about files: it has these files, whatever their names."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self._answers: list[tuple[dict[str, Any], list[bytes]]] = []

    def rows(self) -> list[dict[str, Any]]:
        return [{"path": name, "size": len(data)} for name, data in self.files.items()]

    def tell(self, meta: dict[str, Any], buffers: Sequence[Any] = ()) -> None:
        answer: dict[str, Any] = {"op": meta["op"]}
        data: list[bytes] = []
        if meta["op"] == "digests":
            whole = [self.files[path] for path in meta["paths"]]
            data = [
                b"".join(xxhash.xxh3_128_digest(w[at : at + CHUNK_BYTES]) for at in range(0, len(w), CHUNK_BYTES))
                for w in whole
            ]
        elif meta["op"] == "check":
            answer["wrong"] = []
        elif meta["op"] == "listing":
            answer["files"] = self.rows()
        elif meta["op"] == "take":
            for path, at, size in meta["ranges"]:
                piece = self.files[path][at : at + size]
                sent = [piece, xxhash.xxh3_128_digest(piece)]
                self._answers.append(({"op": "file", "number": meta["number"], "pieces": [[path, at]]}, sent))
            answer |= {"op": "file", "number": meta["number"], "last": True, "errors": {}}
        self._answers.append((answer, data))

    def wait(self, op: str) -> tuple[dict[str, Any], list[bytes]]:
        meta, buffers = self._answers.pop(0)
        assert meta["op"] == op
        return meta, buffers


class Screen:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, text: str) -> None: ...


class Home:
    """The notebook's end: a folder, and the files exchanged with one worker."""

    def __init__(self, folder: Path, trust: str) -> None:
        self.folder, self.screen = folder, Screen()
        self.data_only = trust == "data"
        folder.mkdir(exist_ok=True)
        self.sync = self.new_sync()

    def new_sync(self) -> FileSync:
        return FileSync(1 << 30, self.screen, data_only=self.data_only)  # type: ignore[arg-type]

    def cell(self, files: Mapping[str, bytes], *names: str, asked: Sequence[str] = ()) -> tuple[list[str], str]:
        """A cell that names these files, and after which the worker offers those."""
        self.sync.send(Taker(), self.folder, names, asked)  # type: ignore[arg-type]
        worker = Worker(files)
        came, notes = self.sync.bring(worker, self.folder, worker.rows(), time.time_ns())  # type: ignore[arg-type]
        return came, "\n".join(notes)

    def old(self, name: str, text: str) -> Path:
        """A file that has been here for a while."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, ns=(1_000_000_000, 1_000_000_000))
        return path


class Taker:
    """The worker while files are sent to it."""

    def tell(self, meta: dict[str, Any], buffers: Sequence[Any] = ()) -> int:
        self.paths = meta.get("paths", [])
        return 0

    def has_arrived(self, number: int) -> bool:
        return True

    def wait(self, op: str) -> tuple[dict[str, Any], list[bytes]]:
        return {"op": op, "failed": {}, "sizes": []}, [b"" for _ in self.paths]


@pytest.fixture(params=["code", "data"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    return Home(tmp_path / "home", request.param)


@pytest.fixture
def usual(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "code")


@pytest.fixture
def data(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "data")


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_no_hidden_file_and_none_outside_comes_home(home: Home, tmp_path: Path) -> None:
    came, notes = home.cell({**dict.fromkeys(HOSTILE, b"x"), "good.csv": b"1"}, *HOSTILE)
    assert came == ["good.csv"] and below(tmp_path) == {"home/good.csv"}
    assert all(name in notes for name in HOSTILE[:4]) and "%remote get .bashrc" in notes and "outside" in notes
    assert not Path("/tmp/cellferry-out").exists()


def test_a_hidden_file_that_the_user_asked_for_comes(usual: Home) -> None:
    usual.old(".config.json", "1")
    came, _notes = usual.cell({".config.json": b"22"}, asked=[".config.json"])
    assert came == [".config.json"] and (usual.folder / ".config.json").read_text() == "22"
    worker = Worker({".hidden": b"h", ".other/x": b"o", "z/.zarray": b"z", "plain": b"p"})
    assert usual.sync.get(worker, usual.folder, "*") == ["plain"]  # type: ignore[arg-type]
    assert usual.sync.get(worker, usual.folder, "z/.z*") == ["z/.zarray"]  # type: ignore[arg-type]
    assert usual.sync.get(worker, usual.folder, ".hidden") == [".hidden"]  # type: ignore[arg-type]
    assert not (usual.folder / ".other").exists()


def test_no_link_is_followed(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f.csv").write_text("theirs")
    (home.folder / "led").symlink_to(outside)
    (home.folder / "last.csv").symlink_to(outside / "f.csv")
    (home.folder / ".new.csv.cellferry-part").symlink_to(outside / "f.csv")
    files = {"led/f.csv": b"1", "led/new.csv": b"2", "led/deep/new.csv": b"3", "last.csv": b"4", "new.csv": b"5"}
    _came, notes = home.cell(files, *files)
    assert below(outside) == {"f.csv"} and (outside / "f.csv").read_text() == "theirs"
    assert "is a link here, which is not followed" in notes
    assert (home.folder / "last.csv").is_symlink() and (home.folder / "last.remote-1.csv").read_bytes() == b"4"


def test_the_users_own_path_leads_through_the_users_link(usual: Home, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (usual.folder / "data").symlink_to(tmp_path / "disk")
    assert usual.sync.get(Worker({"data/x.csv": b"1"}), usual.folder, "data/x.csv")  # type: ignore[arg-type]
    assert (tmp_path / "disk" / "x.csv").read_bytes() == b"1"


def test_a_file_that_was_never_exchanged_is_kept(home: Home) -> None:
    mine = home.old("results/mine.csv", "mine")
    came, notes = home.cell({"results/mine.csv": b"theirs"})
    assert mine.read_text() == "mine" and came == ["results/mine.remote-1.csv"] and "yours is kept" in notes
    assert (home.folder / came[0]).read_text() == "theirs"


def test_a_file_that_the_cell_names_is_replaced_and_the_earlier_one_is_kept(usual: Home) -> None:
    """The cell writes ``mine.csv``, as it stands in its text; it was not sent because .gitignore names it."""
    mine = usual.old("mine.csv", "mine")
    usual.old(".gitignore", "mine.csv")
    came, notes = usual.cell({"mine.csv": b"theirs"}, "./mine.csv")
    assert came == ["mine.csv"] and mine.read_text() == "theirs"
    assert (usual.folder / EARLIER / "mine.csv").read_text() == "mine" and f"{EARLIER}/mine.csv" in notes
    assert usual.cell({"mine.csv": b"again"}, "mine.csv") == (["mine.csv"], "") and mine.read_text() == "again"


def test_what_came_from_a_worker_may_be_replaced_by_the_next(home: Home) -> None:
    home.cell({"x.csv": b"first"})
    os.utime(home.folder / "x.csv")
    home.sync = home.new_sync()
    assert home.cell({"x.csv": b"second"})[0] == ["x.remote-1.csv"], "somebody has had it in hand meanwhile"
    (home.folder / "x.csv").unlink()
    home.cell({"x.csv": b"first"})
    home.sync = home.new_sync()
    assert home.cell({"x.csv": b"second"}) == (["x.csv"], "") and (home.folder / "x.csv").read_text() == "second"


def test_data_mode_replaces_nothing_that_was_not_exchanged_and_takes_no_other_kinds(data: Home) -> None:
    mine = data.old("mine.csv", "mine")
    data.old(".gitignore", "mine.csv")
    other = ["run.py", "x.so", "Makefile", "setup.cfg", "x.ipynb", "x.html", "x.svg", "x.pkl", "x.sh", "package.json", "conftest",
             "pyproject.toml", "x.desktop", "x.PY", "x.csv.py", "requirements.txt"]  # fmt: skip
    came, notes = data.cell(
        {"mine.csv": b"theirs", **dict.fromkeys(other, b"1"), "t.csv.gz": b"1", "p.PNG": b"1"}, "mine.csv", *other
    )
    assert sorted(came) == ["mine.remote-1.csv", "p.PNG", "t.csv.gz"] and mine.read_text() == "mine"
    assert all(f"%remote get {name}" in notes for name in other)
    everything = Worker({"mine.csv": b"theirs", "run.py": b"1"})
    assert data.sync.get(everything, data.folder, "*") == ["mine.remote-2.csv"]  # type: ignore[arg-type]
    assert data.sync.get(everything, data.folder, "run.py") == ["run.py"]  # type: ignore[arg-type]
    assert mine.read_text() == "mine"


def test_get_keeps_what_it_replaces(usual: Home) -> None:
    mine = usual.old("notes.txt", "mine")
    assert usual.sync.get(Worker({"notes.txt": b"theirs"}), usual.folder, "*") == ["notes.txt"]  # type: ignore[arg-type]
    assert mine.read_text() == "theirs" and (usual.folder / EARLIER / "notes.txt").read_text() == "mine"


def test_there_is_a_limit_on_how_many(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellferry.link.arriving.MOST_FILES", 5)
    came, notes = home.cell({f"{n}.csv": b"" for n in range(40)} | {f".{n}": b"" for n in range(1000)})
    assert len(came) == 5 and "35 more files" in notes and "980 more" in notes and len(notes.splitlines()) < 30
    assert MOST_FILES == 10_000


def test_what_cannot_lie_here_is_said_and_the_others_come(home: Home) -> None:
    (home.folder / "d.csv").mkdir()
    home.old("file", "1")
    came, notes = home.cell({"d.csv": b"1", "file/x.csv": b"2", "n" * 300 + ".csv": b"3", "good.csv": b"4"})
    assert set(came) == {"d.remote-1.csv", "good.csv"} and "file/x.csv" in notes


def test_a_row_of_wrong_types_is_no_file(home: Home) -> None:
    rows: list[Any] = [{"path": 1, "size": 1}, {"path": "a.csv", "size": -1}]
    rows += [{"path": "b.csv", "size": 1e9}, {"size": 1}, {"path": "c.csv"}]
    assert home.sync.bring(Worker({}), home.folder, rows, 0) == ([], [])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "a.b.parquet"])
def test_data_is_data(name: str) -> None:
    assert is_data(name) and not is_data(name + ".exe")


def test_a_place_never_leads_out(tmp_path: Path) -> None:
    for name in ("../x", "/etc/passwd", "a/../../x", "", "a/./b"):
        with pytest.raises(OSError):
            Place(tmp_path, name).look()


@pytest.mark.slow
@pytest.mark.parametrize("trust", ["code", "data"])
def test_a_cell_writes_no_hidden_file_and_keeps_mine(new_user: NewUser, trust: str) -> None:
    user = new_user(CELLFERRY_LOCAL_FOLDER="own", CELLFERRY_TRUST=trust)
    (user.folder / "mine.csv").write_text("mine")
    user.sees("names = ['.bashrc', '.ssh/authorized_keys', '.vscode/tasks.json']")
    shown = user.sees(
        "%%remote returns=\nimport os\nfor k in names + ['mi' + 'ne.csv', 'good.csv']:\n"
        "    os.makedirs(os.path.dirname(k) or '.', exist_ok=True)\n    open(k, 'w').write('theirs')\nNone"
    )
    kept = (user.folder / EARLIER / "mine.csv", user.folder / "mine.csv")
    assert any(path.exists() and path.read_text() == "mine" for path in kept)
    assert {p.name for p in user.folder.iterdir()} & {".bashrc", ".ssh", ".vscode"} == set()
    assert (
        user.folder / "good.csv"
    ).read_text() == "theirs" and "hidden files come home only when they are asked for" in shown


def test_files_of_a_store_come_home_by_the_same_rules(home: Home, tmp_path: Path) -> None:
    outside, kept = tmp_path / "outside", tmp_path / "store"
    for folder in (outside, kept / "led", kept / ".vscode"):
        folder.mkdir(parents=True)
    for name in ("led/x.csv", ".vscode/tasks.json", "mine.csv", "good.csv"):
        (kept / name).write_text("theirs")
    (home.folder / "led").symlink_to(outside)
    mine = home.old("mine.csv", "mine")
    store = open_store(kept.as_uri())
    came = from_store(store, store.listing(), home.folder, "*", home.screen, data_only=home.data_only)  # type: ignore[arg-type]
    assert set(came) == {"good.csv", "mine.remote-1.csv" if home.data_only else "mine.csv"} and not below(outside)
    assert "mine" in {mine.read_text(), *[path.read_text() for path in (home.folder / EARLIER).glob("mine.csv")]}
    assert not (home.folder / ".vscode").exists() and "is a link here" in home.screen.notes[0]
    assert from_store(store, store.listing(), home.folder, "led/x.csv", home.screen, data_only=home.data_only)  # type: ignore[arg-type]
    assert below(outside) == {"x.csv"}
