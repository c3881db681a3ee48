"""The list of what does not travel in the limits' page is the code's own."""

from __future__ import annotations

from pathlib import Path

from cellferry.capture.stuck import SORTS, Sort

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "limits.md"
BEGIN, END = "<!-- from cellferry.capture.stuck -->\n", "<!-- end -->\n"


def table() -> str:
    """The rows as they must stand in the page: what, of which types, and what to do instead."""
    types: dict[Sort, list[str]] = {}
    for name, sort in SORTS.items():
        types.setdefault(sort, []).append(name)
    rows = ["| What | Types | What to do |", "|---|---|---|"]
    for sort, names in sorted(types.items(), key=lambda row: row[0].what):
        rows.append(f"| {sort.what} | {', '.join(f'`{name}`' for name in sorted(names))} | {sort.remedy} |")
    return "\n".join(rows) + "\n"


def test_the_page_lists_what_is_refused_with_its_remedy() -> None:
    text = PAGE.read_text()
    listed = text.partition(BEGIN)[2].partition(END)[0]
    assert listed == table(), f"put this between the marks in {PAGE.name}:\n{table()}"
