"""Runs of cellferry: what the journal costs for each output, and how long it takes to look at a run that went on alone."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.contender import Samples, timed
from benchmarks.contenders.cellferry_cell import CellferryCell
from benchmarks.notebook import LineWatch, printing_cell

NO_JOURNAL = """%%remote returns=
from cellferry.guest.journal import Journal
written, Journal.keep = Journal.keep, lambda self, message, buffers: (0, None)
"""
JOURNAL = "%%remote returns=\nJournal.keep = written\n"
EVENTS = """%%remote
from IPython.display import display
for _i in range({count}): display({{"text/plain": str(_i)}}, raw=True)
"""


class Runs(CellferryCell):
    """One notebook and its ``local`` worker."""

    def __init__(self) -> None:
        super().__init__("unix")
        self.steps = {"journal": self.journal, "attach": self.attach}

    def journal(self, count: int) -> Samples:
        """A cell with many displays, each an output of its own, with and without its journal, as the frontend sees it."""
        notebook = self._open()
        kept = [timed(lambda: notebook.run(EVENTS.format(count=count)))]
        notebook.run(NO_JOURNAL)
        bare = [timed(lambda: notebook.run(EVENTS.format(count=count)))]
        notebook.run(JOURNAL)
        return {"kept_s": kept, "bare_s": bare, "event_s": [(kept[0] - bare[0]) / count]}

    def attach(self, count: int) -> Samples:
        """Attaching to a run that has ended and printed many lines: until the frontend has them all."""
        notebook = self._open()
        notebook.run("%%remote detach\n" + printing_cell(count))
        while notebook.value("[row.status for row in get_ipython().run_line_magic('remote', 'runs')]") != ["ok"]:
            time.sleep(0.1)  # outside of what is measured
        watch: Any = LineWatch()
        notebook.run("%remote attach", seen=watch)
        return watch.finish(count)
