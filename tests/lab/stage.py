"""A server's answers without a server: what the panel is shown, so that a test can say exactly what goes on."""

from __future__ import annotations

import json
import re
import time

GIB = 2**30
NOTEBOOK = "notebook.ipynb"


def worker(number=0, **fields):
    """A row of section ``workers``."""
    now = time.time()
    row = {
        "id": f"w{number}", "name": f"a100-{number}" if number else "a100", "notebook": NOTEBOOK, "notebooks": [NOTEBOOK],
        "provider": "demo", "state": "ready", "phases": [], "detail": "", "error": "", "words": "gpu=a100 budget=5",
        "instance": "p4d.24xlarge", "region": "us-east-1", "gpu": "a100", "gpu_count": 1, "gpu_memory_bytes": 40 * GIB,
        "cpus": 12, "memory_bytes": 85 * GIB, "spot": False, "simulated": True, "microusd_per_hour": 1_290_000,
        "spent_microusd": 421_000, "reserved_microusd": 2_000_000, "ends_unix_s": now + 3600 + 60 * number,
        "idle_ends_unix_s": None, "busy": number % 2 == 0,
        "cells": [{"notebook": NOTEBOOK, "cell_id": "cell-1", "number": 3}], "mine": True,
    }  # fmt: skip
    return row | fields


def run(number=0, **fields):
    """A record of section ``runs``; the first three go on."""
    now = time.time()
    over = number > 2
    row = {
        "run": f"r{number}", "notebook": NOTEBOOK, "cell_id": f"cell-{number % 3}", "number": number + 1, "worker": "a100",
        "worker_id": "w0", "phase": "done" if over else "running", "status": "ok" if over else "running",
        "began_unix_s": now - 30 - 60 * number, "ended_unix_s": now - 60 * number if over else None,
        "microusd_per_hour": 1_290_000, "microusd": 11_000 + number, "simulated": True,
        "hardware": "1x A100 40 GiB, 12 CPUs, 85 GiB", "provider": "demo", "instance": "p4d.24xlarge", "region": "",
        "spot": False, "environment": "", "detail": "",
    }  # fmt: skip
    return row | fields


def limit(period, most, spent, reserved, **fields):
    """A row of section ``budget``, in micro-dollars; ``most``: the limit or None."""
    left = None if most is None else most - spent - reserved
    return {
        "period": period, "notebook": NOTEBOOK if period == "notebook" else "", "limit_microusd": most, "spent_microusd": spent,
        "reserved_microusd": reserved, "left_microusd": left, "simulated": False,
    } | fields  # fmt: skip


def budget():
    rows = [limit("notebook", 5_000_000, 1_210_000, 790_000), limit("day", 10_000_000, 7_400_000, 1_790_000),
            limit("month", None, 38_000_000, 790_000)]
    return {"rows": rows, "ends": [{"worker": "a100", "will_have_cost_microusd": 2_000_000}]}


def history(worker_id="w0", gpus=1):
    """15 minutes of section ``metrics``."""
    now = time.time()
    rows = []
    for n in range(180):
        wave = abs(n % 60 - 30) / 30
        gpu = {"name": "A100", "use": 0.35 + 0.6 * wave, "memory_used_bytes": int((12 + 20 * n / 180) * GIB),
               "memory_total_bytes": 40 * GIB}
        rows.append({
            "at_unix_s": now - 900 + 5 * n, "cpu": 0.2 + 0.3 * (1 - wave), "memory_used_bytes": 20 * GIB,
            "memory_total_bytes": 85 * GIB, "net_in_bytes_s": 3e6 * wave, "net_out_bytes_s": 4e5 * (1 - wave),
            "gpus": [gpu | {"use": gpu["use"] * (1 - 0.2 * k)} for k in range(gpus)]})  # fmt: skip
    return {"worker": worker_id, "from": 0, "rows": rows}


def offer(number=0, **fields):
    gpu = [("a100", 40), ("l4", 24), ("t4", 16), ("h100", 80), ("", 0)][number % 5]
    row = {
        "provider": "demo", "region": ["us-east-1", "eu-central-1", "ap-south-1"][number % 3], "zone": "",
        "instance": f"machine.{number}xlarge", "gpu": gpu[0], "gpu_count": 1 if gpu[0] else 0, "gpu_memory_bytes": gpu[1] * GIB,
        "cpus": 12, "memory_bytes": 85 * GIB, "microusd_per_hour": 350_000 + 47_000 * number,
        "spot_microusd_per_hour": 120_000 + 9_000 * number, "price_age_s": 180.0, "source": "simulated price list",
        "likelihood": ["likely", "possible", "unlikely"][number % 3], "note": "", "simulated": True,
        "words": f"gpu={gpu[0] or 'none'} provider=demo",
    }  # fmt: skip
    return row | fields


CHECKS = [
    {"ok": True, "name": "this machine: workers", "found": "python 3.11, 2 cores", "advice": ""},
    {"ok": False, "name": "provider aws", "found": "no credentials", "advice": "pip install 'cellferry[aws]' && aws configure"},
    {"ok": True, "name": "ledger", "found": "SQLite, 3 limits", "advice": ""},
]


class Stage:
    """The answers; ``asked`` holds (method, path, body) of everything that was asked but questions."""

    def __init__(self, page, workers=(), runs=(), money=None, offers=(), version="0.1.0"):
        self.sections = {"workers": list(workers), "runs": list(runs), "budget": money or {"rows": [], "ends": []}}
        self.offers, self.version = list(offers), version
        self.asked, self.watched, self.sockets, self.refuses = [], [], [], {}
        self.away = False
        page.route(re.compile(r"/cellferry/api/(?!live)"), self._answer)
        page.route_web_socket(re.compile(r"/cellferry/api/live"), self._connected)

    def _connected(self, socket):
        if self.away:
            socket.close()
            return
        self.sockets.append(socket)
        socket.on_message(lambda text: self._told(socket, json.loads(text)))
        for name, data in self.sections.items():
            socket.send(json.dumps({"section": name, "data": data}))

    def _told(self, socket, message):
        self.watched = message["watch"]
        for each in message["watch"]:
            socket.send(json.dumps({"section": "metrics", "data": history(each)}))

    def push(self, section, data):
        """A section that changed."""
        self.sections[section] = data
        for socket in self.sockets:
            socket.send(json.dumps({"section": section, "data": data}))

    def go_away(self):
        """The server restarts: it takes no connection until ``come_back``."""
        self.away = True
        for socket in self.sockets:
            socket.close()
        self.sockets.clear()

    def come_back(self):
        self.away = False

    def _answer(self, route):
        request = route.request
        path = request.url.partition("/cellferry/api/")[2]
        head = path.partition("?")[0]
        if head in self.refuses:
            status, body = self.refuses[head]
            route.fulfill(status=status, json=body)
            return
        body = request.post_data_json if request.method in ("POST", "PUT") else None
        if head == "version":
            route.fulfill(json={"version": self.version, "protocol": 1})
        elif head == "check":
            bad = "a1oo" in body["words"]
            told = {"ok": not bad, "message": "no GPU is named a1oo" if bad else "",
                    "advice": "did you mean `gpu=a100`?" if bad else "", "words": body["words"]}
            route.fulfill(json=told)
        elif head == "offers":
            route.fulfill(json={"offers": self.offers, "problems": []})
        elif head == "doctor":
            route.fulfill(json={"checks": CHECKS})
        elif head.endswith("/logs"):
            route.fulfill(json={"text": "worker: ready\n<img src=x onerror=alert(1)>\n"})
        else:
            self.asked.append((request.method, head, body))
            route.fulfill(status=202, json={"name": "a100"})
