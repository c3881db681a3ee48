"""How long placement takes over 10,000 offers: every cell that needs a machine waits for it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from cellferry.model import CellRequest, Hardware, Offer, Quota, Refusal, Standing
from cellferry.placement.plan import plan
from cellferry.placement.quotas_aws import NAMES
from cellferry.placement.snapshot import snapshot_offers
from cellferry.placement.table import rows

OFFERS = 10_000
NOW_UNIX_S = 1_790_000_000.0
ROUNDS = 15


def measure() -> dict[str, float]:
    """Medians in milliseconds of processor time over 10,000 offers (the snapshot, in as many zones as that takes).

    Nothing here waits, so on a quiet machine that is the time that a cell waits for it; on a busy one, other people's work
    is left out.

    ``a100``: a cell with ``gpu=a100 spot``. ``cpus``: ``cpus=4``, for which nine in ten will do. ``anything``: a cell for
    which every machine will do, bought either way, so that nearly 20,000 tries are put in order: the worst there is.
    ``nothing``: the same when no money is left, so that each is ruled out. ``table``: the table of offers from that plan.
    """
    offers, standing = many_offers(), some_standing()
    a100 = CellRequest(hardware=Hardware(gpu="a100", gpu_count=1), spot=True)
    cpus, anything = CellRequest(hardware=Hardware(cpus=4)), CellRequest(spot=True)

    def run(request: CellRequest, most_microusd: int = 20_000_000) -> Callable[[], object]:
        return lambda: plan(request, offers, standing, most_microusd=most_microusd, now_unix_s=NOW_UNIX_S).attempts[:1]

    whole = plan(anything, offers, standing, most_microusd=None, now_unix_s=NOW_UNIX_S)
    return {
        "a100": _median_ms(run(a100)),
        "cpus": _median_ms(run(cpus)),
        "anything": _median_ms(run(anything)),
        "nothing": _median_ms(run(anything, 0)),
        "table": _median_ms(lambda: rows(whole, NOW_UNIX_S)),
    }


def many_offers() -> tuple[Offer, ...]:
    """10,000 different offers."""
    snapshot = snapshot_offers()
    return tuple(
        replace(offer, zone=f"{offer.region}{number // len(snapshot)}")
        for number, offer in enumerate(snapshot * (OFFERS // len(snapshot) + 1))
    )[:OFFERS]


def some_standing() -> Standing:
    """Every quota of every region, and fifty refusals of the last hour."""
    offers = snapshot_offers()
    regions = sorted({offer.region for offer in offers})
    quotas = tuple(Quota("aws", region, code, name, 128, 8) for region in regions for code, name in NAMES.items())
    refusals = tuple(
        Refusal(
            "aws",
            offer.region,
            f"{offer.region}0",
            offer.instance,
            False,
            "no_capacity",
            "none left",
            NOW_UNIX_S - 60 * n,
        )
        for n, offer in enumerate(offers[::12])
    )
    return Standing(quotas, refusals[:50])


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        work()
        times.append((time.thread_time() - start) * 1e3)
    return statistics.median(times)


if __name__ == "__main__":
    print(measure())
