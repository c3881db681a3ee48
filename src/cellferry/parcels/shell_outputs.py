"""Where libraries show what they draw, when a cell has said so once for all later ones (bokeh's ``output_notebook``): entries of the
shell like those of ``shell_parts``."""

from __future__ import annotations

import importlib
import sys
from typing import Any

_BOKEH = "bokeh.io.state"


def look_outputs(_shell: Any = None) -> dict[tuple[str, ...], Any]:
    """The kind of notebook that bokeh shows in, if it does."""
    module = sys.modules.get(_BOKEH)
    state = module.curstate() if module is not None and hasattr(module, "curstate") else None
    return {("output", "bokeh"): str(state.notebook_type)} if state is not None and state.notebook else {}


def give_output(_shell: Any, _key: tuple[str, ...], value: Any) -> None:
    """Let bokeh show there as well; anything but a text: not any more. What a page needs was loaded where the cell said so."""
    state = importlib.import_module(_BOKEH).curstate()
    if isinstance(value, str):
        state.output_notebook(value)
    else:
        state._notebook = False
