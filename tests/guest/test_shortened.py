"""Outputs that are too large to keep whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cellferry.guest import journal as room
from cellferry.guest import shortened as cutting
from cellferry.guest.journal import Journal
from cellferry.guest.replay import Events, write_outputs
from cellferry.guest.shortened import shortened


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HEAD_BYTES", 4000)
    monkeypatch.setattr(room, "PIECE_BYTES", 1000)
    monkeypatch.setattr(room, "LARGE_BYTES", 20_000)
    monkeypatch.setattr(cutting, "KEPT_CHARACTERS", 100)
    monkeypatch.setattr(cutting, "PART_CHARACTERS", 50)


def _stream(text: str) -> dict[str, Any]:
    return {"msg_type": "stream", "content": {"name": "stdout", "text": text}, "parent_header": {}}


def _display(**data: Any) -> dict[str, Any]:
    data = {kind.replace("_", "/"): part for kind, part in data.items()}
    return {
        "msg_type": "display_data",
        "content": {"data": data, "metadata": {"image/png": {"width": 3}}},
        "parent_header": {},
    }


def _kept(journal: Journal) -> list[dict[str, Any]]:
    events = Events(journal.folder)
    return [frame for frame, _ in [*events.new(), *events.missing(journal.events)]]


def test_one_that_is_larger_than_the_head_is_kept_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"run": "r"})
    journal.event(_stream("first\n"), [])
    journal.event(_display(image_png="p" * 15_000), [])
    journal.event(_stream("last\n"), [])
    first, large, last = _kept(journal)
    assert large["message"]["content"]["data"] == {"image/png": "p" * 15_000}
    assert (first["n"], large["n"], last["n"]) == (1, 2, 3)


def test_the_last_one_is_kept_whole_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"run": "r"})
    journal.event(_stream("x" * 15_000), [])
    assert _kept(journal)[0]["message"]["content"]["text"] == "x" * 15_000


def test_beyond_that_a_text_keeps_its_ends_and_says_what_is_missing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"run": "r"})
    journal.event(_stream("a" * 15_000 + "b" * 15_000), [])
    text = _kept(journal)[0]["message"]["content"]["text"]
    assert text.startswith("a" * 100 + "\n") and text.endswith("\n" + "b" * 100)
    assert "29,800 characters" in text


def test_large_ones_from_the_end_are_bounded_together(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"run": "r"})
    journal.event(_stream("h" * 3900), [])
    for _ in range(5):
        journal.event(_stream("x" * 15_000), [])
    frames = _kept(journal)
    assert [frame["op"] for frame in frames] == ["event", "cut", "event"] and frames[1]["messages"] == 3
    assert len(frames[2]["message"]["content"]["text"]) == 30_000, "two of them, read as one"


def test_parts_of_a_display_are_whole_or_named() -> None:
    made = shortened(_display(image_png="p" * 60, text_plain="t" * 300, text_html="<b>"))
    assert made is not None
    data = made["content"]["data"]
    assert data["text/html"] == "<b>" and "image/png" not in data
    assert (
        data["text/plain"].startswith("t" * 100 + "\n... 100 characters")
        and "image/png of this output" in data["text/plain"]
    )
    alone = shortened(_display(image_png="p" * 60))
    assert alone is not None and alone["content"]["data"] == {
        "text/plain": "... image/png of this output was too large to keep (60 characters) ..."
    }


def test_an_error_keeps_its_name() -> None:
    error = {"msg_type": "error", "content": {"ename": "E", "evalue": "v" * 500, "traceback": ["l" * 500, "end"]}}
    made = shortened(error)
    assert made is not None and made["content"]["ename"] == "E" and made["content"]["traceback"][-1].endswith("end")


@pytest.mark.parametrize("last", [False, True])
def test_what_cannot_be_shortened_is_missed_in_the_middle_and_at_the_end(tmp_path: Path, last: bool) -> None:
    journal = Journal(tmp_path, {"run": "r"})
    journal.event(_stream("before\n"), [])
    journal.event({"msg_type": "comm_msg", "content": {"data": {"state": {}}}, "parent_header": {}}, [b"x" * 30_000])
    if not last:
        journal.event(_stream("after\n"), [])
    journal.end({"status": "ok"})
    assert [frame["op"] for frame in _kept(journal)] == ["event", "cut"] + ([] if last else ["event"])
    assert b'"cut"' in write_outputs(journal.folder, {}).read_bytes(), "the artifact store says so as well"
