"""The rows of the table "How fast": what is measured, by whom, how often, and against which target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.targets import MIB, Target, added, bound, exponent, speed_ratio, time_ratio

GIB = 1024 * MIB
LINES = 100_000
MEMORY_LIMIT_MIB = 64
MEMORY_SIDES = ("client_out_b", "worker_out_b", "client_home_b", "worker_home_b", "kept_b")


@dataclass(frozen=True)
class Step:
    """One thing each contender does in a round; ``label`` marks its metrics when a row has several steps."""

    args: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    payload_bytes: int = 0
    needs_bytes: int = 0
    """Memory that must be available, or the step is not measured."""
    quick: bool = True


@dataclass(frozen=True)
class Row:
    """One row. ``rounds``, ``quick_rounds``: how often each contender repeats; ``quick_at_most`` caps slow ones."""

    name: str
    what: str
    kind: str
    contenders: tuple[str, ...]
    targets: tuple[Target, ...]
    steps: tuple[Step, ...] = (Step(),)
    rounds: int = 7
    quick_rounds: int = 3
    warmup: int = 1
    quick_warmup: int = 1
    fresh: bool = False
    """A new process for each repetition, not set up: cold starts."""
    turns: bool = False
    """The step takes a ``turn``, another one each time, to make values that were never sent before."""
    quick_at_most: Mapping[str, int] = field(default_factory=dict)


def _tiny(name: str, kind: str, what: str) -> Row:
    return Row(
        name, what, kind, ("cellferry", "kernel", "ipyparallel", "ray", "dask"), steps=(Step({"count": 20}),),
        rounds=10, quick_rounds=4,
        targets=(
            time_ratio("%%remote / bare ipykernel round trip", "cell_s", "kernel", 1.0),
            time_ratio("%%remote / ipyparallel %%px", "cell_s", "ipyparallel", 1.0),
            time_ratio("%%remote / Ray actor call (the aim beyond)", "cell_s", "ray", None),
            added("added to a local cell, seen by the frontend / that local cell", "seen_s", "kernel", "cell_s", 1.0),
        ),
    )


def _rate() -> Row:
    return Row(
        "rate", "500 tiny cells in a row", "rate", ("cellferry", "ipyparallel", "kernel", "ray"),
        steps=(Step({"count": 500}),), rounds=3, quick_rounds=1, warmup=0, quick_warmup=0,
        targets=(
            speed_ratio("cells a second / ipyparallel's", "cell_s", "ipyparallel", 1.0),
            speed_ratio(
                "the same, each cell a whole request of the frontend", "seen_s", "ipyparallel", None,
                peer_metric="cell_s",
            ),
            speed_ratio("the same / bare ipykernel", "seen_s", "kernel", None, peer_metric="cell_s"),
        ),
    )


def _lines() -> Row:
    return Row(
        "lines", "100,000 printed lines", "lines", ("cellferry", "kernel", "ipyparallel"),
        steps=(Step({"count": LINES}),),
        targets=(
            time_ratio("total / bare ipykernel", "total_s", "kernel", 1.15),
            bound("first line seen", "first_s", 50.0, "ms", 1e3),
            time_ratio("total / ipyparallel", "total_s", "ipyparallel", None),
        ),
    )


def _array_targets() -> tuple[Target, ...]:
    found: list[Target] = []
    for way in ("out", "home"):
        metric = f"{way}_s"
        found += [
            speed_ratio(f"{way}: speed / raw unix socket", metric, "raw-unix", 0.7),
            speed_ratio(f"{way}: speed / Ray, made writable", metric, "ray", 1.0, peer_metric=f"{way}_writable_s"),
            speed_ratio(f"{way}: speed / Ray as it is (read-only)", metric, "ray", 1.0),
            speed_ratio(f"{way}: speed / dask", metric, "dask", None),
        ]
    return tuple(found)


def _array(size_mib: int, contenders: tuple[str, ...], rounds: int, quick_rounds: int) -> Row:
    size = size_mib * MIB
    return Row(
        f"array-{size_mib}", f"{size_mib} MiB array out and home, local worker", "array", contenders,
        targets=_array_targets(), steps=(Step({"size": size}, payload_bytes=size, needs_bytes=5 * size),),
        rounds=rounds, quick_rounds=quick_rounds, warmup=2, turns=True,
    )


def _tls(
    size_mib: int, peers: tuple[str, ...], rounds: int, quick_rounds: int, quick_at_most: Mapping[str, int]
) -> Row:
    size = size_mib * MIB
    found: list[Target] = []
    for way in ("out", "home"):
        limits = {"uvloop-tls": 0.9, "dask-tls": 1.0, "ipyparallel-curve": 1.0}
        found += [
            speed_ratio(f"{way}: speed / {peer}", f"{way}_s", peer, limits[peer], ours="cellferry-tls")
            for peer in peers
        ]
    return Row(
        f"tls-{size_mib}", f"{size_mib} MiB array out and home, through TLS on loopback", "array",
        ("cellferry-tls", *peers), targets=tuple(found),
        steps=(Step({"size": size}, payload_bytes=size, needs_bytes=5 * size),),
        rounds=rounds, quick_rounds=quick_rounds, warmup=1, turns=True, quick_at_most=quick_at_most,
    )


def _again() -> Row:
    def changed_over_limit(median: Any) -> float:
        allowed = 1.3 * median("cellferry", "hash_s") + median("cellferry", "chunk_s")
        return float(median("cellferry", "changed_s") / allowed)

    return Row(
        "again", "a 1 GiB input that the worker has: unchanged, one element changed", "again", ("cellferry",),
        steps=(Step({"size": GIB}, payload_bytes=GIB, needs_bytes=5 * GIB),), turns=True,
        targets=(
            time_ratio("unchanged / hashing it once (XXH3)", "unchanged_s", "cellferry", 1.3, peer_metric="hash_s"),
            Target("one element changed / (1.3 x hashing once + sending one chunk)", changed_over_limit, "<=", 1.0),
            time_ratio("unchanged, in a cell that might change it", "unsure_s", "cellferry", None, peer_metric="hash_s"),
            time_ratio("one element changed / hashing it once", "changed_s", "cellferry", None, peer_metric="hash_s"),
        ),
    )


def _spoken(side: str) -> str:
    return "kept after deleting both" if side == "kept_b" else side.removesuffix("_b").replace("_", ", ")


def _memory() -> Row:
    return Row(
        "memory", "peak memory over the payload itself, 1 GiB, each side", "memory", ("cellferry",),
        steps=(Step({"size": GIB}, payload_bytes=GIB, needs_bytes=5 * GIB),), rounds=3, quick_rounds=2, turns=True,
        targets=tuple(
            bound(f"{_spoken(side)}, over the payload", side, MEMORY_LIMIT_MIB, "MiB", 1 / MIB)
            for side in MEMORY_SIDES
        ),
    )


def _growth_bytes() -> Row:
    sizes = (1, 4, 16, 64, 256, 1024, 4096)
    steps = tuple(
        Step({"size": mib * MIB}, f"{mib}MiB", mib * MIB, max(4 * mib * MIB, 64 * MIB), quick=mib < 4096)
        for mib in sizes
    )
    found: list[Target] = []
    for way in ("out", "home"):
        for large in (1024, 4096):
            label = f"{way}: time from 64 MiB to {large} MiB"
            found.append(exponent(label, f"{way}_s", ("64MiB", 64), (f"{large}MiB", large), 1.1))
    for side in MEMORY_SIDES:
        found.append(bound(f"{_spoken(side)}, over 4 GiB", f"{side}@4096MiB", MEMORY_LIMIT_MIB, "MiB", 1 / MIB))
    return Row(
        "growth-bytes", "time and memory from 1 MiB to 4 GiB", "memory", ("cellferry",), tuple(found), steps,
        rounds=3, quick_rounds=2, turns=True,
    )


def _growth_names() -> Row:
    steps = tuple(Step({"count": count}, str(count)) for count in (1, 10, 100, 1000))
    return Row(
        "growth-names", "time from 1 to 1,000 variables", "names", ("cellferry",), steps=steps, turns=True,
        rounds=7, quick_rounds=3,
        targets=tuple(
            exponent(f"{way}: time from 100 to 1,000 variables", f"{way}_s", ("100", 100), ("1000", 1000), 1.1)
            for way in ("out", "home")
        ),
    )


def _load() -> Row:
    return Row(
        "load-ext", "%load_ext cellferry in a new kernel", "load", ("cellferry",), rounds=7, quick_rounds=3,
        targets=(bound("over plain ipykernel", "load_s", 150.0, "ms", 1e3),),
    )


def _cold() -> Row:
    return Row(
        "cold", "first %%remote to its result, new worker; peers: import, start, first result", "cold",
        ("cellferry", "kernel", "dask", "ipyparallel", "ray"), rounds=5, quick_rounds=3, fresh=True,
        quick_at_most={"ray": 1, "ipyparallel": 1, "dask": 2},
        targets=(
            time_ratio("first result / starting ipyparallel", "first_s", "ipyparallel", 1.0),
            time_ratio("first result / starting Ray", "first_s", "ray", 1.0),
            time_ratio("first result / starting a bare ipykernel", "first_s", "kernel", 2.5),
            time_ratio("the same, without importing jupyter_client", "first_s", "kernel", None, peer_metric="start_s"),
            time_ratio("first result / starting dask (the aim beyond)", "first_s", "dask", None),
        ),
    )


def _files() -> tuple[Row, ...]:
    size, count = 256 * MIB, 1000
    targets = tuple(
        speed_ratio(f"{way}: speed / rsync over ssh{told}", f"{way}_s", "rsync", limit, ours=ours)
        for way in ("out", "home")
        for ours, told, limit in (("cellferry-tls", ", ours over TLS", 1.0), ("cellferry", "", 1.0))
    )
    names = ("cellferry", "cellferry-tls", "rsync")
    return (
        Row(
            "files-256", "a file of 256 MiB by %remote put, another home by %remote get", "file", names, targets,
            steps=(Step({"size": size}, payload_bytes=size, needs_bytes=6 * size),), rounds=5, quick_rounds=3, turns=True,
        ),
        Row(
            "files-small", "1,000 files of 4 KiB, the same way", "small", names, targets,
            steps=(Step({"count": count}, payload_bytes=count * 4096),), rounds=7, quick_rounds=3, turns=True,
        ),
    )  # fmt: skip


def _environment() -> Row:
    return Row(
        "environment", "first result in a new environment of about 20 packages, their files in uv's cache", "environment",
        ("environment", "uv-sync", "pip"), rounds=5, quick_rounds=2,
        targets=(
            time_ratio("all but one second / uv pip sync and the imports", "new_less_1_s", "uv-sync", 1.3,
                       ours="environment", peer_metric="new_s"),
            time_ratio("the whole / uv pip sync and the imports", "new_s", "uv-sync", None, ours="environment"),
            time_ratio("the whole / pip install and the imports", "new_s", "pip", 1.0, ours="environment"),
            bound("cached: added to a worker with the notebook's packages", "added_s", 300.0, "ms", 1e3, ours="environment"),
        ),
    )  # fmt: skip


def _plain(label: str, contender: str, metric: str, unit: str, scale: float = 1.0) -> Target:
    return Target(label, lambda median: median(contender, metric) * scale, unit=unit)


def _placement() -> Row:
    # Predicted: 2 us for each offer that fits (looking, then its place in the order): 3 ms, 20 ms, and 40 ms for 20,000 tries.
    labels = {
        "a100_s": "gpu=a100", "cpus_s": "cpus=4, for which nine in ten will do",
        "anything_s": "every machine will do, bought either way", "nothing_s": "the same, and no money for any of them",
    }  # fmt: skip
    return Row(
        "placement", "planning over 10,000 offers, processor time", "placement", ("machines",), rounds=3, quick_rounds=1, warmup=1,
        targets=(
            *(bound(label, metric, 50.0, "ms", 1e3, ours="machines") for metric, label in labels.items()),
            _plain("the table of all of them", "machines", "table_s", "ms", 1e3),
        ),
    )


def _ledger() -> Row:
    # Predicted: the time of one fsync and 1 ms, so 300 to 600 a second here; PostgreSQL is asked four or five times for each
    # transaction, through a socket, so about half of that. At 100 a second the two before a start take 20 ms of it.
    found: list[Target] = []
    for name, base in (("SQLite", "sqlite"), ("PostgreSQL", "postgres")):
        found.append(Target(f"on {name}", lambda median, base=base: median("machines", f"{base}_per_s"), ">=", 100.0, "/s"))  # type: ignore[misc]
    return Row(
        "ledger", "transactions a second, each on the disk before it counts", "ledger", ("machines",), rounds=3, quick_rounds=1,
        steps=(Step({"machines": 100}),), targets=(
            *found,
            Target(
                "time on SQLite / the disk's own, for 4 KiB and an fsync",
                lambda median: median("machines", "fsync_per_s") / median("machines", "sqlite_per_s"),
            ),
            _plain("opening a ledger that is there, SQLite", "machines", "sqlite_open_s", "ms", 1e3),
        ),
    )  # fmt: skip


def _cloud() -> tuple[Row, ...]:
    # Predicted: a local worker's first cell takes 0.6 s with an import of numpy; the search, four transactions and the first
    # use of the ledger's modules add 0.4 s; taking an environment from the cache 0.3 s: 1.3 s in all.
    # At once: a worker is a server and a kernel, 1.0 s of processor time against a bare kernel's 0.5: twice its time, some
    # 25 to 40 s for fifty on two cores. Memory: 40 MiB for a server and as much for a kernel, most of it their own.
    count = 50
    return (
        Row(
            "first-cell", "from a machine that has booted to the result of the first cell on it", "first-cell", ("cloud",),
            rounds=5, quick_rounds=3, targets=(
                bound("over the provider's own boot time, environment cached", "cached_s", 5.0, "s", 1.0, ours="cloud"),
                bound("the same with the notebook's own packages", "shared_s", 5.0, "s", 1.0, ours="cloud"),
                Target("finding and paying: what that is above a worker of `local`",
                       lambda median: median("cloud", "shared_s") - median("cloud", "local_s"), unit="s"),
            ),
        ),
        Row(
            "at-once", f"{count} workers started, used and ended at once; peers: bare kernels", "at-once", ("cloud", "kernel"),
            steps=(Step({"count": count}, needs_bytes=10 * GIB),), rounds=2, quick_rounds=1, warmup=0, quick_warmup=0,
            targets=(
                time_ratio("until all have run a cell / bare ipykernels", "used_s", "kernel", 2.5, ours="cloud"),
                bound("until all have ended", "ended_s", 10.0, "s", 1.0, ours="cloud"),
                _plain("each, from its start to its end", "cloud", "each_s", "s"),
                time_ratio("memory / bare ipykernels (PSS)", "pss_b", "kernel", None, ours="cloud"),
            ),
        ),
    )  # fmt: skip


def _runs() -> tuple[Row, ...]:
    # Predicted: an output is encoded once more and written by one system call, 10 us of about 150 that it costs on both sides.
    # Attaching: small texts are joined to pieces of 64 KiB, so 100,000 lines are ten messages: 0.1 s, and reading the list.
    return (
        Row(
            "journal", "5,000 displays by one cell, with and without its journal", "journal", ("runs",), rounds=5, quick_rounds=3,
            steps=(Step({"count": 5000}),), targets=(
                time_ratio("with the journal / without", "kept_s", "runs", 1.1, ours="runs", peer_metric="bare_s"),
                _plain("the journal, for each output", "runs", "event_s", "us", 1e6),
            ),
        ),
        Row(
            "attach", "attaching to a run that has printed 100,000 lines", "attach", ("runs",), rounds=3, quick_rounds=2,
            steps=(Step({"count": LINES}),), targets=(bound("until all lines are seen", "total_s", 2.0, "s", 1.0, ours="runs"),),
        ),
    )  # fmt: skip


def _resume() -> Row:
    # Predicted: 0.6 s. After five seconds the next try comes within 1.25 s, on average half of that; the handshake and what was
    # shown meanwhile take some 10 ms.
    return Row(
        "resume", "a network that is gone for 5 s in mid-cell: until the notebook sees the next output", "resume", ("network",),
        steps=(Step({"away_s": 5.0}),), rounds=5, quick_rounds=3, warmup=0, quick_warmup=0,
        targets=(bound("from the network's return to the next output", "resume_s", 2.0, "s", 1.0, ours="network"),),
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    _tiny("tiny-pass", "tiny", "tiny cell, worker warm: pass"),
    _tiny("tiny-value", "value", "tiny cell, worker warm: y = x + 1, x sent and y home"),
    _rate(),
    _lines(),
    _array(256, ("cellferry", "raw-unix", "ray", "dask", "ipyparallel"), 7, 3),
    _array(1024, ("cellferry", "raw-unix", "ray", "dask"), 5, 2),
    _again(),
    _memory(),
    _growth_bytes(),
    _growth_names(),
    _tls(256, ("uvloop-tls", "dask-tls", "ipyparallel-curve"), 7, 3, {"ipyparallel-curve": 1}),
    _tls(1024, ("uvloop-tls", "dask-tls"), 5, 2, {}),
    *_files(),
    _environment(),
    _placement(),
    _ledger(),
    *_cloud(),
    *_runs(),
    _resume(),
    _load(),
    _cold(),
)
"""In the order in which they run: contenders are ended after the last row that needs them."""
