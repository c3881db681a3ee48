"""What was typed into the notebook, for a cell that looks at it (``In``, ``_i3``, ``%history``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def take_inputs(shell: Any, raw: Sequence[str], parsed: Sequence[str]) -> None:
    """Make the notebook's inputs this shell's own; the last of each is the coming cell, as it was typed, number and all."""
    history = shell.history_manager
    history.input_hist_raw[:], history.input_hist_parsed[:] = raw[:-1], parsed[:-1]
    history._ii, history._i, history._i00 = (["", "", "", *raw[:-1]])[-3:]
    shell.user_ns.update({f"_i{number}": text for number, text in enumerate(raw[:-1]) if number})

    def get_tail(n: int = 10, raw: bool = True, output: bool = False, include_latest: bool = False) -> list[Any]:
        # this kernel has no history file, which IPython would ask
        texts = history.input_hist_raw if raw else history.input_hist_parsed
        end = len(texts) if include_latest else len(texts) - 1
        return [(0, at, (texts[at], None) if output else texts[at]) for at in range(max(1, end - n), end)]

    history.get_tail = get_tail

    def store_once(number: int, _source: str, _source_raw: str | None = None) -> None:
        del history.store_inputs
        history.store_inputs(number, parsed[-1], raw[-1])

    history.store_inputs = store_once
