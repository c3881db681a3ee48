"""What lies in the artifact store was written by workers, and by whoever else may write there: nothing unproven is opened."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cellferry import errors
from cellferry.guest.keeping import store_results
from cellferry.link.artifacts import FolderStore, keep_in_store, refused_name
from cellferry.link.checkpoints import fetch_results, result_order, stored_results, stored_rows
from cellferry.link.store_key import NAME, master_key
from cellferry.parcels.seal import mac_of, run_key
from cellferry.testing.contract import eventually

RUN, OTHER = "a" * 12, "b" * 12


class Place:
    """A store in a folder, with the results of ``RUN`` in it as its worker leaves them."""

    def __init__(self, tmp_path: Path) -> None:
        self.files = tmp_path / "store"
        self.store = FolderStore(self.files.as_uri())
        self.master = master_key(tmp_path / "state")
        self.folder = tmp_path / "run"
        self.folder.mkdir()
        (self.folder / "result").write_bytes(b"values" * 500_000)
        order = result_order(self.store, RUN, "", self.master)
        store_results(self.folder, {name: told for name, told in order.items() if name not in ("outputs", "row")})
        eventually((self.folder / "stored").exists, "it is stored and sealed", 20)
        self.results = self.files / "results"
        self.home = tmp_path / "home"

    def fetch(self, run: str = RUN, master: bytes = b"") -> bytes:
        self.home.mkdir(exist_ok=True)
        fetch_results(self.store, run, stored_results(self.store)[run], self.home, master or self.master)
        return (self.home / "result").read_bytes()

    def refuses(self, run: str = RUN, master: bytes = b"") -> None:
        with pytest.raises(errors.IdentityError, match="not sealed by this machine's key"):
            self.fetch(run, master)
        assert not (self.home / "result").exists(), "nothing unproven is left where it could be opened"


def seal_by_hand(place: Place, key: bytes, row: Any) -> None:
    """The row as a worker with this key would leave it, which may write what it likes."""
    folder = place.results / RUN
    (folder / "row").write_text(json.dumps(row))
    (folder / "seal").write_text(
        json.dumps({name: mac_of(key, RUN, name, folder / name) for name in ("result", "row")})
    )


def test_only_what_the_runs_own_worker_has_sealed_is_read(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.fetch() == b"values" * 500_000
    (place.home / "result").unlink()
    (place.results / RUN).rename(place.results / OTHER)
    place.refuses(OTHER)  # another run's results, whole and sealed, in the place of this one's
    (place.results / OTHER).rename(place.results / RUN)
    place.refuses(master=b"another machine's".ljust(32, b"."))
    (place.results / RUN / "outputs").write_bytes(b"added")
    place.refuses()
    (place.results / RUN / "outputs").unlink()
    with (place.results / RUN / "result").open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"!")
    place.refuses()


@pytest.mark.parametrize(
    "seal", [None, b"", b"[]", b"{}", b'{"result": 1}', b'{"result": "\xc3\xa4"}', b"[" * 100_000, b"x" * (2 << 20)]
)
def test_a_seal_that_is_none_opens_nothing(tmp_path: Path, seal: bytes | None) -> None:
    place = Place(tmp_path)
    (place.results / RUN / "seal").unlink()
    if seal is not None:
        (place.results / RUN / "seal").write_bytes(seal)
    place.refuses()
    assert stored_rows(place.store, place.master) == []


def test_a_run_is_listed_only_with_a_row_of_our_seal(tmp_path: Path) -> None:
    place = Place(tmp_path)
    seal_by_hand(place, run_key(place.master, RUN), {"notebook": "mine"})
    assert [(row["run"], row["notebook"]) for row in stored_rows(place.store, place.master)] == [(RUN, "mine")]
    (place.results / RUN / "row").write_text('{"notebook": "forged"}')
    assert stored_rows(place.store, place.master) == []
    seal_by_hand(place, run_key(place.master, OTHER), {"notebook": "by a worker with the key of another run"})
    assert stored_rows(place.store, place.master) == []
    seal_by_hand(place, run_key(place.master, RUN), ["no row"])
    assert stored_rows(place.store, place.master) == []


def test_the_key_is_private_made_once_and_never_replaced(tmp_path: Path) -> None:
    key = master_key(tmp_path)
    assert len(key) == 32 and master_key(tmp_path) == key and [path.name for path in tmp_path.iterdir()] == [NAME]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    (tmp_path / NAME).write_bytes(b"short")
    with pytest.raises(errors.IdentityError, match="no key of 32 bytes"):
        master_key(tmp_path)


@pytest.mark.parametrize("name", [
    "results/r/result", "checkpoints/r/a.zip", "results", "../other/x", "a/../results/x", "a/..", "./a", "a//b", "/etc/x", "a/", "",
    "a\\b", "a\nb", "a\x7f", ".",
])  # fmt: skip
def test_a_worker_gets_no_order_for_a_name_that_is_not_a_cells(tmp_path: Path, name: str) -> None:
    """The link is none: an order that was made would fail."""
    lines = keep_in_store(FolderStore(tmp_path.as_uri()), None, {name: 3}, SimpleNamespace(progress=lambda _text: None))  # type: ignore[arg-type]
    assert len(lines) == 1 and "stayed on the worker" in lines[0] and not list(tmp_path.iterdir())


def test_the_names_of_cells_are_left_as_they_are() -> None:
    names = ("a", "out/model ü.pt", "results.csv", "out/results/x", ".hidden", "a..b", "...")
    assert [refused_name(name) for name in names] == [""] * len(names)
