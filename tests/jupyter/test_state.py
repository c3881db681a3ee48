"""What the sidebar shows, made from what was found: pure."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from cellferry.fleet.watching import Facts
from cellferry.jupyter.state import MOST_RUNS, Places, ends, sections
from cellferry.ledger import Reservation, worker_to_record
from cellferry.model import Endpoint, Hardware, Lease, Offer, Worker, WorkerId

NOW = 1_000_000.0
OFFER = Offer("demo", "us-east-1", "p4d", gpu="a100", gpu_count=1, gpu_memory_bytes=40 << 30, cpus=12, memory_bytes=85 << 30,
              microusd_per_hour=3_600_000, simulated=True)  # fmt: skip
PLACES = Places("/root", {"k-1": "renamed.ipynb"})


def worker(name: str = "train", **changes: Any) -> Worker:
    plain = Worker(WorkerId(f"id-{name}"), name, "demo", Endpoint("unix"), Hardware(), lease=Lease(600, None, NOW + 1000),
                   started_unix_s=NOW - 100, token=f"t-{name}", offer=OFFER)  # fmt: skip
    return replace(plain, **changes)


def reservation(each: Worker, **changes: Any) -> Reservation:
    plain = Reservation(each.token, "running", 5_000_000, 100_000, "ana", "/root/b.ipynb", "", each.name, "demo", "", "", "p4d", False,
                        3_600_000, NOW - 100, "", NOW - 100, NOW, 0.0, worker_to_record(each))  # fmt: skip
    return replace(plain, **changes)


def board(*workers: dict[str, Any], runs: Any = (), kernel: str = "k-1", pid: int = 7) -> dict[str, Any]:
    return {"pid": pid, "notebook": "/root/a.ipynb", "kernel_id": kernel, "workers": list(workers), "runs": list(runs)}


def row(name: str, worker_id: str = "", state: str = "ready", at: float = NOW) -> dict[str, Any]:
    return {"name": name, "worker": worker_id, "provider": "demo", "state": state, "words": "gpu=a100", "detail": "d", "error": "",
            "notebook": "/root/a.ipynb", "phases": [{"phase": "requested", "at_unix_s": at}]}  # fmt: skip


def run(name: str, **changes: Any) -> dict[str, Any]:
    return {"run": name, "notebook": "/root/a.ipynb", "cell_id": f"c-{name}", "number": 1, "worker": "train",
            "worker_id": "id-train", "phase": "running", "status": "running", "began_unix_s": NOW, "ended_unix_s": None,
            "microusd_per_hour": 0, "microusd": 0, "detail": "", **changes}  # fmt: skip


def facts(**found: Any) -> Facts:
    return Facts(**{"at_unix_s": NOW, **found})


def test_a_worker_of_the_ledger_alone() -> None:
    each = worker()
    (told,) = sections(facts(workers=[each], money={each.token: reservation(each)}), PLACES)["workers"]
    assert told["notebook"] == "b.ipynb" and told["notebooks"] == ["b.ipynb"] and not told["mine"] and told["state"] == "ready"
    assert told["spent_microusd"] == 100_000 and told["reserved_microusd"] == 5_000_000 and told["ends_unix_s"] == NOW + 1000
    assert told["gpu"] == "a100" and told["simulated"] and told["idle_ends_unix_s"] is None and not told["busy"]


def test_a_board_names_its_notebook_by_the_kernel_which_follows_a_rename() -> None:
    each = worker()
    found = facts(boards=[board(row("train", each.id), runs=[run("r")])], workers=[each], money={each.token: reservation(each)})
    told = sections(found, PLACES)
    assert told["workers"][0]["notebook"] == "renamed.ipynb" and told["workers"][0]["mine"] and told["workers"][0]["busy"]
    assert told["runs"][0]["notebook"] == "renamed.ipynb"
    assert told["workers"][0]["cells"] == [{"notebook": "renamed.ipynb", "cell_id": "c-r", "number": 1}]


def test_what_starts_has_an_id_of_its_own_and_hides_what_is_found_of_it() -> None:
    (told,) = sections(facts(boards=[board(row("train", state="starting"))], workers=[worker()]), PLACES)["workers"]
    assert told["id"] == "starting:7:train" and told["state"] == "starting" and told["detail"] == "d"


def test_a_worker_that_is_gone_is_not_shown_although_a_board_still_says_so() -> None:
    assert sections(facts(boards=[board(row("train", "id-train", at=NOW - 10))]), PLACES)["workers"] == []


def test_a_worker_that_came_since_the_last_look_is_shown() -> None:
    (told,) = sections(facts(boards=[board(row("train", "id-train", at=NOW + 1))]), PLACES)["workers"]
    assert told["id"] == "id-train" and told["provider"] == "demo"


def test_a_worker_whose_provider_cannot_be_asked_is_shown_while_its_money_is_held() -> None:
    each = worker()
    (told,) = sections(facts(boards=[board(row("train", each.id))], money={each.token: reservation(each)}), PLACES)["workers"]
    assert told["gpu"] == "a100"


def test_a_kernels_word_goes_before_that_of_the_server_that_started_it() -> None:
    each = worker()
    boards = [board(row("train", each.id)), board(row("train", each.id), kernel="", pid=8)]
    for order in (boards, boards[::-1]):
        (told,) = sections(facts(boards=order, workers=[each]), PLACES)["workers"]
        assert told["mine"]


def test_times_do_not_tremble() -> None:
    each, status = worker(), {"lease": {"ends_in_s": 60.0, "busy": False, "ends_unix_s": NOW + 1000}}
    first = sections(facts(workers=[each], status={each.id: status}), PLACES)
    assert first["workers"][0]["idle_ends_unix_s"] == NOW + 60
    later = facts(workers=[each], status={each.id: {"lease": {**status["lease"], "ends_in_s": 58.2}}}, at_unix_s=NOW + 2)
    assert sections(later, PLACES, first) == first
    used = facts(workers=[each], status={each.id: {"lease": {**status["lease"], "ends_in_s": 600.0}}}, at_unix_s=NOW + 2)
    assert sections(used, PLACES, first)["workers"][0]["idle_ends_unix_s"] == NOW + 602


def test_what_nobody_meters_is_counted_by_the_clock_in_steps() -> None:
    each = worker()
    silent = reservation(each, metered_unix_s=NOW - 33)
    (told,) = sections(facts(workers=[each], money={each.token: silent}), PLACES)["workers"]
    assert told["spent_microusd"] == 100_000 + 30_000  # 3,600,000 an hour, 30 of 33 s
    spent_out = reservation(each, metered_unix_s=NOW - 33_000)
    assert sections(facts(workers=[each], money={each.token: spent_out}), PLACES)["workers"][0]["spent_microusd"] == 5_000_000


def test_runs_of_workers_are_merged_with_those_of_boards() -> None:
    each = worker()
    told = {
        each.id: [
            {"run": "r1", "notebook": "/root/a.ipynb", "cell_id": "c", "number": 3, "owner": "ana", "status": "running",
             "began_unix_s": NOW - 5, "ended_unix_s": None, "events": 4, "detached": True, "unclaimed": True, "bytes": 9},
            {"run": "r2", "notebook": "/root/b.ipynb", "cell_id": "c2", "number": 4, "owner": "ana", "status": "ok",
             "began_unix_s": NOW - 60, "ended_unix_s": NOW - 24, "events": 4, "detached": False, "unclaimed": True, "bytes": 9},
            {"run": "r3", "notebook": "", "cell_id": "", "number": 0, "owner": "", "status": "queued", "began_unix_s": NOW - 1,
             "ended_unix_s": None},
        ]
    }  # fmt: skip
    boards = [board(runs=[run("r1", began_unix_s=NOW - 5)])]
    rows = {r["run"]: r for r in sections(facts(boards=boards, workers=[each], runs=told), PLACES)["runs"]}
    assert rows["r1"]["unclaimed"] and rows["r1"]["status"] == "running" and rows["r1"]["notebook"] == "renamed.ipynb"
    assert rows["r2"]["notebook"] == "b.ipynb" and rows["r2"]["phase"] == "done" and rows["r2"]["microusd"] == 36_000
    assert rows["r2"]["unclaimed"] and rows["r2"]["worker_id"] == each.id and rows["r2"]["hardware"] == "1x A100 40 GiB, 12 CPUs, 85 GiB"
    assert rows["r3"]["phase"] == "queued" and list(rows) == ["r3", "r1", "r2"], "newest first"


def test_a_run_that_was_left_is_as_its_worker_says() -> None:
    each, left = worker(), run("r1", status="detached")
    row_there = {"run": "r1", "cell_id": "c", "number": 3, "status": "running", "asked_unix_s": NOW - 6, "began_unix_s": NOW - 5,
                 "ended_unix_s": None, "detached": True, "unclaimed": True}  # fmt: skip
    def told(**changes: Any) -> Any:
        found = facts(boards=[board(runs=[left])], workers=[each], runs={each.id: [row_there | changes]})
        return sections(found, PLACES)["runs"][0]

    assert told()["status"] == "detached" and told()["phase"] == "running"
    assert told(status="queued")["status"] == "queued"
    ended = told(status="error", ename="KeyboardInterrupt", ended_unix_s=NOW)
    assert (ended["status"], ended["phase"], ended["ended_unix_s"], ended["unclaimed"]) == ("stopped", "done", NOW, True)
    fetched = told(status="ok", ended_unix_s=NOW, unclaimed=False, claimed=True)
    assert not fetched["detached"] and not fetched["unclaimed"], "nothing of it waits for anybody"
    assert sections(facts(boards=[board(runs=[left])]), PLACES)["runs"][0]["status"] == "lost"


def test_a_worker_that_is_slow_to_answer_is_told_as_before() -> None:
    each = worker()
    status = {"lease": {"ends_in_s": 60.0, "busy": True, "ends_unix_s": NOW + 1000}, "asked_unix_s": NOW}
    told = {"run": "r1", "status": "running", "asked_unix_s": NOW - 6, "began_unix_s": NOW - 5, "ended_unix_s": None}
    first = facts(workers=[each], status={each.id: status}, runs={each.id: [told]})
    silent = facts(workers=[each], at_unix_s=NOW + 2).after(first)
    assert sections(silent, PLACES) == sections(first, PLACES)
    assert facts(at_unix_s=NOW + 2).after(first).status == {}, "what is gone is gone"


def test_fifty_workers_and_a_thousand_runs_are_quick() -> None:
    workers = [worker(f"w{n}") for n in range(50)]
    boards = [board(*(row(w.name, w.id) for w in workers[n::25]), pid=n, kernel=f"k{n}",
                    runs=[run(f"{n}-{m}", worker_id=workers[m].id) for m in range(50)]) for n in range(25)]  # fmt: skip
    found = facts(boards=boards, workers=workers, money={w.token: reservation(w) for w in workers})
    began = time.process_time()
    told = sections(found, PLACES)
    text = json.dumps(told)
    assert time.process_time() - began < 0.5
    assert len(told["workers"]) == 50 and len(told["runs"]) == MOST_RUNS and len(text) < 2_000_000


def test_what_workers_will_have_cost() -> None:
    free = worker("free", offer=None, lease=Lease())
    assert ends([worker(), free]) == [{"worker": "train", "will_have_cost_microusd": 1_100_000}]


def test_paths_are_told_as_the_server_says_them() -> None:
    assert PLACES.told("/root/deep/a.ipynb") == "deep/a.ipynb"
    assert PLACES.told("/elsewhere/a.ipynb") == "/elsewhere/a.ipynb"
    assert PLACES.told("/root/folder") == "" and PLACES.told("") == "" and PLACES.told(None) == ""
