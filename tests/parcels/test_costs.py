"""What a trip costs: how it grows with what is known and with what is sent, and memory beside the payload.

Ratios of processor time within one run, with wide bounds; ``benchmarks/`` measures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from cellferry.guest.home import Load, pack_home
from cellferry.parcels.context import Unpacking
from cellferry.parcels.parcel import PackPlan, pack, settle, unpack

from .two_heaps import TwoHeaps

MEGABYTE = 1 << 20


def round_trip(ends: TwoHeaps) -> None:
    """Two ints out, one home, without a wire."""
    parcel = pack(ends.near, {"x": 1, "y": 2}, PackPlan(), ends.near.sweep())
    arrived = unpack(ends.far, parcel.meta(), parcel.buffers(), [], [], Unpacking(ends.there))
    settle(ends.far, arrived)
    parcel.sealed(ends.near)
    home = pack_home(ends.far, Load({"z": 3}, tuple(arrived.roots.values()), 1 << 26))
    arrived = unpack(ends.near, home.meta(), home.buffers(), [], [], Unpacking(ends.here))
    settle(ends.near, arrived)
    home.sealed(ends.far)


def seconds(work: Callable[[], Any], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return median(taken)


def test_a_small_cell_costs_about_the_same_whatever_is_known() -> None:
    def knowing(known: int) -> TwoHeaps:
        ends = TwoHeaps()
        if known:
            ends.here["much"] = [[i] for i in range(known)]
            ends.send()
            ends.bring()
        round_trip(ends)
        return ends

    each = [knowing(0), knowing(100), knowing(20_000)]
    taken = [median(one) for one in zip(*([seconds(lambda e=e: round_trip(e), 1) for e in each] for _ in range(200)), strict=True)]
    assert max(taken) < 6 * taken[0], taken  # few are looked at each time, many by turns


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize(
    "make",
    [
        lambda n: list(range(n)),
        lambda n: [{"a": i, "b": str(i)} for i in range(n)],
        lambda n: {i: str(i) for i in range(n)},
    ],
    ids=["ints", "small dicts", "one dict"],
)
def test_a_million_elements_cost_ten_times_a_tenth(make: Callable[[int], Any]) -> None:
    def pack_and_arrive(count: int) -> float:
        ends = TwoHeaps()
        ends.here["x"] = make(count)
        return seconds(ends.send, 1)

    few, many = min(pack_and_arrive(100_000) for _ in range(3)), pack_and_arrive(1_000_000)
    assert many < max(0.1, 30 * few)


_MEASURE = """
import sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from parcels.two_heaps import TwoHeaps, carry
from cellferry.parcels.bulk import Inbox, stream
from cellferry.parcels.context import Unpacking
from cellferry.parcels.parcel import PackPlan, pack, settle, unpack

def now(what):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(what))

def forget_peak():
    open("/proc/self/clear_refs", "w").write("5")

ends = TwoHeaps()
value = {"array": lambda: np.ones(1 << 25), "bytes": lambda: b"x" * (1 << 26)}[sys.argv[1]]()
pack(ends.near, {"x": np.ones(10)}, PackPlan())
forget_peak()
before = now("VmRSS")
parcel = pack(ends.near, {"x": value}, PackPlan())
meta, buffers, sums = parcel.meta(), parcel.buffers(), parcel.sums
print(now("VmHWM") - before)
if parcel.bulk:
    forget_peak()
    before = now("VmRSS")
    inbox = Inbox(meta)
    stream(parcel.leaves, [], lambda head, parts: inbox.target(head["leaf"], head["at"], len(parts[0])).__setitem__(slice(None), parts[0]))
    arrived = unpack(ends.far, meta, buffers, inbox.values, inbox.check(sums), Unpacking(ends.there))
    settle(ends.far, arrived)
    print(now("VmHWM") - before - value.nbytes / 2**20)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("kind", ["array", "bytes"])
def test_memory_beside_the_payload_is_small_on_each_side(kind: str) -> None:
    """256 MiB as an array, out of one heap and into another; 64 MiB of bytes out of one."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, kind, str(Path(__file__).parents[1])],
        capture_output=True,
        text=True,
        check=True,
    )
    beside = [float(line) for line in done.stdout.split()]
    assert beside and all(megabytes < 32 for megabytes in beside), beside


def test_hashing_keeps_two_cores_busy() -> None:
    from cellferry.parcels import leaves

    data = memoryview(np.ones(64 * MEGABYTE, np.uint8))
    leaves.digests(data)
    assert leaves._pool is not None and leaves._pool._max_workers >= 2
