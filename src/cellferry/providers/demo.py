"""A simulated cloud, for trying cellferry out and for tests: real prices of AWS, simulated dollars, workers on this machine.

Nothing here costs anything, and everything says that it is simulated. Offers, stock-outs, quotas, boot times, spot
interruptions and leaks come from a seed (``weather``). The workers are real: processes of this machine that outlive the
notebook, with a lease and a budget as on any cloud. ``cellferry.testing`` gives it to users' tests.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellferry.errors import NoCapacity, NoQuota, StartTimeout
from cellferry.model import CellRequest, Check, Hardware, Machine, Offer, Order, Quota, Worker
from cellferry.placement.quotas_aws import NAMES
from cellferry.placement.snapshot import snapshot_offers
from cellferry.providers.base import Examined, Progress, Tagged
from cellferry.providers.local import LocalProvider
from cellferry.providers.weather import Sky, Weather, weather_from
from cellferry.shared_folder import read_ours

NOTICE = "notice"
"""What a worker looks for in its folder (``worker.limits``)."""


class DemoProvider(LocalProvider, Tagged, Examined):
    """The simulated cloud. ``weather`` may be changed at any time; the seed is ``c.Cellferry.demo_seed``."""

    prefix = "cfdemo-"

    def __init__(self, *args: Any, weather: Weather | None = None) -> None:
        super().__init__(*args)
        self.weather = weather or weather_from(self.config.demo_weather)
        self._tries: Counter[tuple[str, str, str, bool]] = Counter()
        self._timers: list[threading.Timer] = []
        self._quiet = threading.Lock()

    @property
    def name(self) -> str:
        return "demo"

    @property
    def sky(self) -> Sky:
        return Sky(self.config.demo_seed, self.weather)

    # -- the market -----------------------------------------------------------------------------------------------

    def offers(self, request: CellRequest) -> Sequence[Offer]:
        return [_simulated(offer) for offer in snapshot_offers("aws")]

    def quotas(self, offers: Sequence[Offer]) -> Sequence[Quota]:
        return self.sky.quotas(offers, NAMES)

    def refresh(self, progress: Progress) -> int:
        progress("the simulated cloud has the prices of the snapshot; there is nothing to ask")
        return 0

    # -- machines -------------------------------------------------------------------------------------------------

    def start(self, order: Order, progress: Progress) -> Worker:
        offer = order.offer
        if offer is None:  # asked for by hand, without a choice
            offer = next(o for o in self.offers(order.request) if o.instance == "m7i.large")
            order = replace(order, offer=offer)
        place = (offer.region, offer.zone, offer.instance, order.spot)
        with self._quiet:
            attempt, self._tries[place] = self._tries[place], self._tries[place] + 1
        self._check_quota(offer, order.spot)
        fate = self.sky.fate(offer, order.spot, attempt)
        if fate == "no_capacity":
            raise NoCapacity(f"(simulated) {offer.region} has no {offer.instance} left at the moment")
        progress(f"(simulated) {offer.instance} in {offer.region} boots")
        started = time.time()
        threading.Event().wait(self.sky.boot_s(offer, order.token))  # a wait is what it simulates
        if fate == "boot_failed":
            raise StartTimeout(f"(simulated) {offer.instance} in {offer.region} never became reachable; it was ended")
        worker = super().start(order, progress)
        worker = replace(worker, provider=self.name, machine=_machine_id(worker), started_unix_s=started)
        if fate == "leaked":
            raise StartTimeout(
                f"(simulated) {offer.instance} in {offer.region} never became reachable, and it could not be ended",
                "cellferry reap ends it",
            )
        if order.spot:
            self._plan_interruption(worker, self.sky.spot_life_s(order.token))
        return worker

    def _limits(self, asked: Hardware) -> dict[str, Any]:
        return {}  # the machine has what its offer says, as far as anybody can tell

    def find(self) -> Sequence[Worker]:
        return [replace(worker, provider=self.name, machine=_machine_id(worker)) for worker in super().find()]

    def machines(self) -> Sequence[Machine]:
        self._remove_stale()  # for a machine that crashed there is no later start that must come
        found = []
        for worker in self.find():
            told = _settings(worker)
            found.append(
                Machine(
                    self.name, worker.machine, "simulated", worker.token, worker.name, str(told.get("owner", "")),
                    worker.started_unix_s, str(told.get("ledger", "")),
                )
            )  # fmt: skip
        return found

    def end_machine(self, machine: Machine) -> None:
        for worker in self.find():
            if worker.machine == machine.id:
                self.stop(worker)

    def interrupt(self, worker: Worker, what: str = "(simulated) spot interruption", in_s: float | None = None) -> None:
        """Take a machine back, ``in_s`` after now (``weather.notice_s``); the worker is told at once, as on a real cloud."""
        if worker.folder is None:
            return
        at = time.time() + (self.weather.notice_s if in_s is None else in_s)
        part = worker.folder / f"{NOTICE}.part"
        try:
            part.write_text(json.dumps({"what": what, "at_unix_s": at}), "utf-8")
            os.replace(part, worker.folder / NOTICE)  # noqa: PTH105 - in one step
        except OSError:
            pass  # it has ended before

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def examine(self) -> Iterator[Check]:
        offers = self.offers(CellRequest())
        yield Check("demo", bool(offers), f"{len(offers)} simulated offers, seed {self.config.demo_seed}; nothing here costs money")

    def _check_quota(self, offer: Offer, spot: bool) -> None:
        code = offer.spot_quota if spot else offer.quota
        for quota in self.quotas([offer]):
            if quota.code == code and quota.limit < offer.quota_units:
                raise NoQuota(
                    f"(simulated) {quota.name} ({quota.code}) is {quota.limit} in {offer.region}, "
                    f"{offer.instance} needs {offer.quota_units}",
                    f"cellferry quota request {quota.code} --region {offer.region}",
                )

    def _plan_interruption(self, worker: Worker, after_s: float | None) -> None:
        if after_s is not None:
            timer = threading.Timer(after_s, self.interrupt, (worker,))
            timer.daemon = True
            timer.start()
            self._timers.append(timer)


def _simulated(offer: Offer) -> Offer:
    return replace(offer, provider="demo", simulated=True, price_source=f"{offer.price_source}, simulated")


def _machine_id(worker: Worker) -> str:
    return f"sim-{worker.id[:12]}"


def _settings(worker: Worker) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(read_ours(Path(worker.folder or "."), "worker.json"))
    except (OSError, ValueError):
        return {}
    return content
