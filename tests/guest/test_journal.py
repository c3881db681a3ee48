"""The record of a run on the disk, written by the kernel and read by the worker's server."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellferry.guest import journal as room
from cellferry.guest.journal import Journal
from cellferry.guest.replay import Events
from cellferry.worker.kept import any_kept
from cellferry.worker.runs import Runs, listing


def _text(text: str, name: str = "stdout", parent: str = "p") -> dict[str, Any]:
    return {"msg_type": "stream", "content": {"name": name, "text": text}, "parent_header": {"msg_id": parent}}


def _picture(size: int) -> tuple[dict[str, Any], list[bytes]]:
    return {"msg_type": "display_data", "content": {}, "parent_header": {}}, [b"x" * size]


def _new(folder: Path, run: str = "r1", **about: Any) -> Journal:
    return Journal(folder / "runs", {"run": run, "notebook": "n", "number": 3, **about})


def _all(events: Events) -> list[tuple[dict[str, Any], list[Any]]]:
    return list(events.new())


def test_what_was_written_is_read_in_order_and_once(tmp_path: Path) -> None:
    journal, events = _new(tmp_path), Events(tmp_path / "runs/r1")
    assert _all(events) == []
    journal.event(_text("a"), [])
    journal.event(*_picture(10))
    first = _all(events)
    assert [frame["n"] for frame, _ in first] == [1, 2]
    assert bytes(first[1][1][0]) == b"x" * 10
    journal.event(_text("b"), [])
    assert [frame["n"] for frame, _ in _all(events)] == [3]
    assert _all(events) == []
    assert [frame["n"] for frame, _ in _all(Events(tmp_path / "runs/r1", after=2))] == [3]


def test_texts_that_follow_each_other_are_read_as_one(tmp_path: Path) -> None:
    journal = _new(tmp_path)
    for text in ("a\n", "b\n"):
        journal.event(_text(text), [])
    journal.event(_text("warned\n", "stderr"), [])
    journal.event(_text("c\n"), [])
    shown = [(f["n"], f["message"]["content"]["text"]) for f, _ in _all(Events(tmp_path / "runs/r1"))]
    assert shown == [(2, "a\nb\n"), (3, "warned\n"), (4, "c\n")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 900), max_size=120), looks=st.sets(st.integers(0, 120)))
def test_head_and_tail_are_kept_whatever_is_written(
    sizes: list[int], looks: set[int], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(room, "HEAD_BYTES", 4000)
    monkeypatch.setattr(room, "PIECE_BYTES", 1000)
    folder = tmp_path_factory.mktemp("journal")
    journal, follower, followed = _new(folder), Events(folder / "runs/r1"), []
    for number, size in enumerate(sizes, 1):
        assert journal.event(*_picture(size)) == number
        if number in looks:
            followed += [frame["n"] for frame, _ in _all(follower) if frame["op"] == "event"]
    followed += [frame["n"] for frame, _ in _all(follower) if frame["op"] == "event"]
    late = _all(Events(folder / "runs/r1"))
    numbers = [frame["n"] for frame, _ in late if frame["op"] == "event"]
    cut = [frame["messages"] for frame, _ in late if frame["op"] == "cut"]
    assert followed == sorted(set(followed)) and set(numbers) <= set(range(1, len(sizes) + 1))
    assert numbers == sorted(set(numbers)) and numbers[-1:] == [len(sizes)][: len(sizes)]
    assert len(numbers) + sum(cut) == len(sizes)  # what is missing is told
    assert len(cut) <= 1
    head = 0
    for number, size in enumerate(sizes, 1):
        head += size + 200
        if head > 4000:
            break
        assert number in numbers
    written = sum(path.stat().st_size for path in (folder / "runs/r1").glob("events-*"))
    assert written <= 4000 + (room.TAIL_PIECES + 1) * 1500


def test_many_threads_write_whole_outputs(tmp_path: Path) -> None:
    journal = _new(tmp_path)
    threads = [threading.Thread(target=lambda: [journal.event(*_picture(50)) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [frame["n"] for frame, _ in _all(Events(tmp_path / "runs/r1"))] == list(range(1, 801))


def test_the_list_says_how_each_run_is(tmp_path: Path) -> None:
    one, two, three = (_new(tmp_path, run) for run in ("r1", "r2", "r3"))
    two.began()
    three.began()
    three.end({"status": "error", "ename": "ValueError"})
    told = {row["run"]: row["status"] for row in listing(tmp_path / "runs")}
    assert told == {"r1": "queued", "r2": "running", "r3": "error"}
    about = json.loads((one.folder / "run.json").read_text())
    (one.folder / "run.json").write_text(json.dumps({**about, "pid": 1 << 22}))  # no process has such a number
    assert listing(tmp_path / "runs")[0]["status"] == "lost"
    assert one.folder.stat().st_mode & 0o777 == 0o700


def test_how_long_it_ran_is_no_matter_of_the_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is paid for; somebody sets the clock meanwhile, by hours in either direction."""
    for run, set_to in (("back", 5.0), ("ahead", 4e9)):
        journal = _new(tmp_path, run)
        journal.began()
        monkeypatch.setattr(room.time, "time", lambda now=set_to: now)
        journal.end({"status": "ok"})
        monkeypatch.undo()
    for row in listing(tmp_path / "runs"):
        assert 0 <= row["ran_s"] < 60 and row["status"] == "ok"


def test_what_nobody_has_is_a_reason_to_live_on_until_it_is_claimed(tmp_path: Path) -> None:
    journal = _new(tmp_path)
    assert not any_kept(tmp_path / "runs")
    journal.orphan()
    assert any_kept(tmp_path / "runs") and listing(tmp_path / "runs")[0]["unclaimed"]
    (journal.folder / "result").write_bytes(b"values")
    journal.claim()
    assert not any_kept(tmp_path / "runs")
    row = listing(tmp_path / "runs")[0]
    assert row["claimed"] and not row["unclaimed"] and not row["bytes"]


def test_runs_that_were_brought_home_are_not_kept_for_ever(tmp_path: Path) -> None:
    for number in range(room.MOST_CLAIMED + 5):
        journal = _new(tmp_path, f"r{number:03d}")
        journal.event(_text("x"), [])
        journal.end({"status": "ok"})
        journal.claim()
    rows = listing(tmp_path / "runs")
    assert len(rows) == room.MOST_CLAIMED and rows[-1]["run"] == f"r{room.MOST_CLAIMED + 4:03d}"


def test_a_full_disk_does_not_reach_the_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = _new(tmp_path)

    def full(*_args: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert journal.event(_text("x"), []) == 1
    monkeypatch.undo()
    journal.event(_text("y"), [])
    frames = _all(Events(tmp_path / "runs/r1"))
    assert [(frame["op"], frame.get("n")) for frame, _ in frames] == [("cut", None), ("event", 2)]


def test_half_an_output_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full takes the beginning of what is written, and more when there is room again."""
    journal, write = _new(tmp_path), os.write
    journal.event(_text("a\n"), [])
    room_bytes = [20]

    def full(descriptor: int, data: bytes) -> int:
        if not room_bytes:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: room_bytes.pop()])

    monkeypatch.setattr(room.os, "write", full)
    journal.event(_text("b\n"), [])
    monkeypatch.undo()
    journal.event(_text("c\n"), [])
    frames = [frame for frame, _ in _all(Events(tmp_path / "runs/r1"))]
    assert [frame["op"] for frame in frames] == ["event", "cut", "event"]
    assert frames[2]["message"]["content"]["text"] == "c\n"


def test_a_run_whose_end_could_not_be_written_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = _new(tmp_path)

    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "_write", full)
    journal.end({"status": "ok"})
    sent: list[dict[str, Any]] = []

    class Paper:
        def send(self, frame: dict[str, Any], buffers: Any = ()) -> None:
            sent.append(frame)

    done = threading.Thread(
        target=Runs(tmp_path / "runs").serve, args=(Paper(), {"op": "follow", "run": "r1"}), daemon=True
    )
    done.start()
    done.join(10)
    assert not done.is_alive() and sent[-1]["op"] == "end", "whoever follows it does not wait for ever"
