"""A worker as text and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellferry.errors import LedgerError
from cellferry.ledger import worker_from_record, worker_to_record
from cellferry.model import Endpoint, Hardware, Lease, Offer, Worker, WorkerId

OFFER = Offer("aws", "us-east-1", "p4d.24xlarge", gpu="a100", gpu_count=8, microusd_per_hour=32_772_600)
WORKERS = [
    Worker(WorkerId("w1"), "default", "local", Endpoint("unix", path="/run/x.sock"), Hardware(), Path("/run/cf"), 12),
    Worker(
        WorkerId("w2"), "train", "aws", Endpoint("tls", host="192.0.2.1", port=443, worker_cert_pem="-----", client_dir="/k"),
        Hardware("a100", 8, None, 4, 5, 6), None, None, Lease(60, None, 1.5e9), 1.4e9, "token", OFFER, True, "i-0abc",
    ),
]  # fmt: skip


@pytest.mark.parametrize("worker", WORKERS, ids=lambda worker: worker.provider)
def test_a_worker_comes_back_as_it_was(worker: Worker) -> None:
    assert worker_from_record(worker_to_record(worker)) == worker


def test_records_of_other_versions() -> None:
    told = json.loads(worker_to_record(WORKERS[1]))
    told["later"] = told["offer"]["later"] = told["lease"]["later"] = told["endpoint"]["later"] = 1
    assert worker_from_record(json.dumps(told)) == WORKERS[1]
    for name in ("offer", "spot", "token", "machine", "lease", "hardware", "folder"):
        del told[name]
    found = worker_from_record(json.dumps(told))
    assert found.offer is None and found.lease == Lease() and found.name == "train" and not found.spot


@pytest.mark.parametrize(
    "record", ["", "{", "[]", "3", "{}", '{"id": "w", "endpoint": 5}', '{"id": 1, "endpoint": {}}']
)
def test_what_is_no_record(record: str) -> None:
    with pytest.raises(LedgerError, match="record of a worker cannot be read"):
        worker_from_record(record)
