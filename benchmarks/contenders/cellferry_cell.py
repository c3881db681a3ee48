"""cellferry as a user has it: a notebook kernel, ``%load_ext cellferry``, and ``%%remote`` on top of cells."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contender import Samples, Step, timed
from benchmarks.files import check_file, check_small, make_file, make_small
from benchmarks.notebook import LineWatch, Notebook, printing_cell
from benchmarks.pages import PeakMeter, resident_bytes, warm_pages

INSIDE = Path(__file__).parent.parent / "inside.py"
NO_LIMIT = str(1 << 40)
CHUNK_BYTES = 1 << 20
REUSED_BYTES = 16 << 20
"""Small payloads may lie in memory that the process had before: that much less than the payload is no mistake."""
MAKE = """
_begin = time.perf_counter()
y = np.arange({first}, {first} + {count}, dtype="f8")
made_s = time.perf_counter() - _begin
"""
MAKE_THERE = """%%remote returns=
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
import benchmarks.files as bench_files
sys.path.remove({root!r})
{action}
"""
CHECK_OUT = "arrived = (float(x[0]), float(x[-1]), bool(x.flags.writeable))"


def _over(meter: PeakMeter, size: int) -> float:
    """Bytes of peak memory over a payload of ``size``. Raises if there is less, since then something else was freed."""
    over = meter.rise() - size
    if over < -size // 16 - REUSED_BYTES:
        raise AssertionError(f"peak memory is {-over} bytes below the payload: the measurement is wrong")
    return float(over)


class CellferryCell:
    """One notebook and its ``local`` worker; times are taken inside the kernel, ``seen_s`` by the frontend."""

    def __init__(self, transport: str) -> None:
        self.steps: Mapping[str, Step] = {
            "tiny": self.tiny, "value": self.value, "rate": self.rate, "lines": self.lines, "array": self.array,
            "again": self.again, "memory": self.memory, "names": self.names, "load": self.load, "cold": self.cold,
            "file": self.file, "small": self.small,
        }
        self._environ = os.environ | {"CELLFERRY_LOCAL_TRANSPORT": transport, "CELLFERRY_FETCH_LIMIT": NO_LIMIT,
                                      "CELLFERRY_FILE_LIMIT": "0", "CELLFERRY_LOCAL_FOLDER": "own"}  # fmt: skip
        self._notebook: Notebook | None = None
        self._turn = 0

    def setup(self) -> None:
        """Start the notebook and its worker."""
        self._notebook = self._new_notebook()
        self._notebook.run("import time, numpy as np")
        self._load_extension(self._notebook)
        self._notebook.run("%%remote\nimport time, numpy as np")

    def teardown(self) -> None:
        """End the notebook; its worker must end with it, which the runner checks."""
        if self._notebook is not None:
            self._notebook.close()

    def tiny(self, count: int) -> Samples:
        """``pass``: inside the kernel, and as a whole execute request."""
        inside = self._remote("pass", count)
        return {"cell_s": inside, "seen_s": [self._seen("%%remote\npass") for _ in range(count)]}

    def value(self, count: int) -> Samples:
        """``y = x + 1`` with a new ``x`` sent and ``y`` home."""
        self._turn += count
        inside: list[float] = self._open().value(f"_bench_small_values({count}, {self._turn})")
        return {"cell_s": inside, "seen_s": [self._seen_value() for _ in range(count)]}

    def rate(self, count: int) -> Samples:
        """Tiny cells in a row, seconds for each: inside the kernel, and as whole execute requests."""
        begin = time.perf_counter()
        for _ in range(count):
            self._open().run("%%remote\npass")
        seen_s = time.perf_counter() - begin
        return {"cell_s": [sum(self._remote("pass", count)) / count], "seen_s": [seen_s / count]}

    def lines(self, count: int) -> Samples:
        """A remote cell that prints many lines, as the frontend sees them."""
        watch = LineWatch()
        self._open().run("%%remote\n" + printing_cell(count), seen=watch)
        return watch.finish(count)

    def array(self, size: int, turn: int) -> Samples:
        """One array out, another home; the time in which the worker makes the second is taken off."""
        return {"out_s": [self._out(size, turn)], "home_s": [self._home(size, turn)]}

    def again(self, size: int, turn: int) -> Samples:
        """An array that the worker has: unchanged, then one element changed; hashing it once; one chunk sent."""
        self._payload("x", size, turn)
        self._remote("n = x.nbytes")
        samples: Samples = {"hash_s": [], "unchanged_s": [], "changed_s": [], "chunk_s": []}
        samples["hash_s"].append(self._number("_bench_hash('x')"))
        samples["unchanged_s"] += self._remote("n = x.nbytes")
        samples["unsure_s"] = self._remote("n = x.view().nbytes")
        self._open().run(f"x[{size // 16}] = -1.0")
        samples["changed_s"] += self._remote("n = x.nbytes")
        samples["hash_s"].append(self._number("_bench_hash('x')"))
        self._remote(f"changed_there = float(x[{size // 16}])")
        assert self._number("changed_there") == -1.0, "the changed element did not arrive"
        self._payload("c", CHUNK_BYTES, turn)
        samples["chunk_s"] += self._remote("n = c.nbytes")
        self._forget("x")
        return samples

    def memory(self, size: int, turn: int) -> Samples:
        """Peak memory over the payload itself, in the kernel and in all processes of the worker, with times.

        ``kept``: how much more is held, both sides together, after both arrays were deleted and one more cell has run.
        """
        here, there = [self._open().pid], self._worker_pids()
        held = resident_bytes(here + there)
        self._payload("x", size, turn)
        here_meter, there_meter = PeakMeter(here), PeakMeter(there)
        out_s = self._remote("n = x.nbytes")
        samples = {"client_out_b": [_over(here_meter, 0)], "worker_out_b": [_over(there_meter, size)]}
        self._forget("x")
        warm_pages(2 * size)
        here_meter, there_meter = PeakMeter(here), PeakMeter(there)
        home_s = self._make_home(size, turn)
        samples |= {"client_home_b": [_over(here_meter, size)], "worker_home_b": [_over(there_meter, size)]}
        self._forget("y")
        samples["kept_b"] = [float(resident_bytes(here + there) - held)]
        return samples | {"out_s": out_s, "home_s": [home_s]}

    def names(self, count: int, turn: int) -> Samples:
        """Many small variables read by one cell, and many bound by another."""
        names = [f"v{number}" for number in range(count)]
        self._open().run("; ".join(f"{name} = {turn}.5 + {at}" for at, name in enumerate(names)))
        out_s = self._remote(f"n = len(({', '.join(names)},))")
        home_s = self._remote("\n".join(f"w{at} = {turn}.5 + {at}" for at in range(count)))
        assert self._number(f"w{count - 1}") == turn + 0.5 + count - 1
        return {"out_s": out_s, "home_s": home_s}

    def file(self, size: int, turn: int) -> Samples:
        """One large file out by ``%remote put``, another home by ``%remote get``, as the frontend sees them."""
        return self._moved(partial(make_file, size=size, turn=turn), partial(check_file, size=size),
                           f"bench_files.make_file(Path('home.bin'), {size}, {-turn})", "out.bin", "home.bin", turn)  # fmt: skip

    def small(self, count: int, turn: int) -> Samples:
        """Many small files out, others home."""
        return self._moved(partial(make_small, count=count, turn=turn), partial(check_small, count=count),
                           f"bench_files.make_small(Path('home'), {count}, {-turn})", "out/*", "home/*", turn)  # fmt: skip

    def _moved(self, make: Any, check: Any, make_there: str, out: str, home: str, turn: int) -> Samples:
        notebook = self._open()
        here = Path(tempfile.mkdtemp(prefix="cff-"))
        notebook.run(f"import os\nos.chdir({str(here)!r})")
        notebook.run("%%remote\nimport os\ncwd_there = os.getcwd()")
        there = Path(notebook.value("cwd_there"))
        first, second = out.partition("/")[0], home.partition("/")[0]
        make(here / first)
        notebook.run(MAKE_THERE.format(root=str(INSIDE.parent.parent), action=make_there))
        samples = {
            "out_s": [timed(lambda: notebook.run(f"%remote put {out}"))],
            "home_s": [timed(lambda: notebook.run(f"%remote get {home}"))],
        }
        check(there / first, turn=turn)
        check(here / second, turn=-turn)
        notebook.run("os.chdir('/')")
        shutil.rmtree(here)
        for path in (there / first, there / second):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return samples

    def load(self) -> Samples:
        """``%load_ext cellferry`` in a new kernel, as a user's first cell."""
        notebook = self._new_notebook()
        try:
            return {"load_s": [self._load_extension(notebook)]}
        finally:
            notebook.close()

    def cold(self) -> Samples:
        """The first ``%%remote`` of an open notebook with the extension loaded: a new worker, up to the result."""
        self._notebook = self._new_notebook()
        self._load_extension(self._notebook)
        return {"first_s": self._remote("pass")}

    def _new_notebook(self) -> Notebook:
        return Notebook(self._environ, cwd=tempfile.mkdtemp(prefix="notebook-"))

    def _load_extension(self, notebook: Notebook) -> float:
        notebook.run(INSIDE.read_text())
        loaded_s: float = notebook.value("_bench_load()")
        return loaded_s

    def _open(self) -> Notebook:
        assert self._notebook is not None
        return self._notebook

    def _remote(self, body: str, count: int = 1) -> list[float]:
        taken: list[float] = self._open().value(f"_bench_remote({body!r}, {count})")
        return taken

    def _number(self, expression: str) -> float:
        return float(self._open().value(expression))

    def _seen(self, cell: str) -> float:
        begin = time.perf_counter()
        self._open().run(cell)
        return time.perf_counter() - begin

    def _seen_value(self) -> float:
        self._turn += 1
        self._open().run(f"x = {self._turn}")
        taken = self._seen("%%remote\ny = x + 1")
        assert self._number("y") == self._turn + 1
        return taken

    def _payload(self, name: str, size: int, turn: int) -> None:
        self._open().run(f"_bench_payload({name!r}, {size}, {turn})")
        warm_pages(2 * size)

    def _forget(self, name: str) -> None:
        """Delete a name on both sides; the second cell is when what it held is given back, outside any timed step."""
        self._remote(f"del {name}")
        self._remote("pass")

    def _out(self, size: int, turn: int) -> float:
        self._payload("x", size, turn)
        taken = self._remote("n = x.nbytes")[0]
        self._remote(CHECK_OUT)
        first = turn * (size // 8)
        expected = [float(first), float(first + size // 8 - 1), True]
        assert self._open().value("list(arrived)") == expected, "x did not arrive, or not writable"
        self._forget("x")
        return taken

    def _home(self, size: int, turn: int) -> float:
        warm_pages(2 * size)
        taken = self._make_home(size, turn)
        self._forget("y")
        return taken

    def _make_home(self, size: int, turn: int) -> float:
        first = turn * (size // 8)
        taken = self._remote(MAKE.format(first=first, count=size // 8))[0] - self._number("made_s")
        expected = [float(first), float(first + size // 8 - 1), True]
        found = self._open().value("[y[0], y[-1], y.flags.writeable]")
        assert found == expected, "y did not come home, or not writable"
        return taken

    def _worker_pids(self) -> list[int]:
        """Every process of the worker: the interpreter of the cells, and all that the notebook's kernel started."""
        import psutil

        self._remote("import os; there_pid = os.getpid()")
        kernel = psutil.Process(self._open().pid)
        guest = psutil.Process(int(self._number("there_pid")))
        assert guest.pid != kernel.pid, "the remote cell ran in the notebook's own kernel"
        found = {guest.pid} | {process.pid for process in kernel.children(recursive=True)}
        return sorted(found | {process.pid for process in guest.children(recursive=True)})
