"""Tables and lines as text and as HTML."""

from __future__ import annotations

import pytest

from cellferry.jupyter.display import Table, duration_text, shipped_table, size_text, summary
from cellferry.model import CellReport, Shipped


def test_table_is_a_sequence_of_its_rows():
    table = Table(("a", "bb"), [("name", str), ("length", len)])
    assert list(table) == ["a", "bb"] and table[1] == "bb" and len(table) == 2
    assert repr(table).splitlines() == ["name  length", "a     1", "bb    2"]


def test_html_is_escaped():
    assert ">&lt;b&gt;</td>" in Table(("<b>",), [("<h>", str)])._repr_html_()
    assert "&lt;none&gt;" in Table((), (), "<none>")._repr_html_()


def test_empty_table_says_what_is_not_there():
    assert repr(Table((), (), "no worker is running")) == "no worker is running"


def test_shipped_rows():
    rows = (Shipped("df", "DataFrame", 3 << 20, "sent", 3 << 20), Shipped("model", "Net", 5, "there"))
    assert repr(shipped_table(rows)).splitlines()[1:] == [
        "df     DataFrame  3.0 MiB  sent           3.0 MiB",
        "model  Net        5 B      already there  0 B",
    ]


def test_summary_is_silent_when_there_is_nothing_to_say():
    assert summary(CellReport(worker="w", status="ok")) == ""
    told = CellReport(worker="w", status="ok", notes=("model stayed on the worker: it is on a GPU",),
                      stayed_there=("model", "big"))
    assert summary(told).splitlines() == [
        "model stayed on the worker: it is on a GPU", "stays on worker w until a local cell names it: big"]


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 << 20, "200 MiB"),
                                            (5 << 40, "5.0 TiB")])
def test_sizes(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.24, "0.2 s"), (180, "3 min"), (7200, "2.0 h")])
def test_durations(seconds, text):
    assert duration_text(seconds) == text
