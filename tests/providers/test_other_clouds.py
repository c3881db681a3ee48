"""Prices of other clouds: the real gpuhunt, with a catalogue that is served on this machine."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cellferry.config import Cellferry
from cellferry.errors import CellferryError
from cellferry.fleet import shopping
from cellferry.fleet.fleet import Fleet
from cellferry.journey import read_request
from cellferry.providers import other_clouds

PUBLISHED = ("aws", "azure", "verda", "gcp", "lambdalabs", "nebius", "oci", "runpod", "cloudrift")
ITEMS = {
    "gcp": [("a2-highgpu-1g", "us-central1-a", 3.67, 12, 85.0, 1, "A100", 40.0, False),
            ("a2-highgpu-1g", "us-central1-a", 1.10, 12, 85.0, 1, "A100", 40.0, True),
            ("e2-standard-8", "us-central1-a", 0.27, 8, 32.0, 0, None, None, False)],
    "lambdalabs": [("gpu_1x_a100", "us-east-1", 1.29, 30, 200.0, 1, "A100", 40.0, False)],
    "aws": [("p4d.24xlarge", "us-east-1", 21.96, 96, 1152.0, 8, "A100", 40.0, False)],
}  # fmt: skip


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def catalogues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where gpuhunt looks: a folder behind a real web server, as its publishers fill it."""
    from gpuhunt import AcceleratorVendor, CatalogItem
    from gpuhunt._internal import storage

    place = tmp_path / "published"
    for name in PUBLISHED:
        (place / name / "7").mkdir(parents=True)
        (place / name / "version").write_text("7")
        items = [
            CatalogItem(name, instance, where, price, cpu, memory, count, gpu, gpu_memory, spot, None,
                        AcceleratorVendor.NVIDIA if count else None)
            for instance, where, price, cpu, memory, count, gpu, gpu_memory, spot in ITEMS.get(name, [])
        ]  # fmt: skip
        storage.dump(items, str(tmp_path / "one.csv"))
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w") as archive:
            archive.write(tmp_path / "one.csv", f"{name}.csv")
        (place / name / "7" / "catalog.zip").write_bytes(whole.getvalue())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(place)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield place
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def config(tmp_path: Path) -> Cellferry:
    return Cellferry(state_dir=str(tmp_path / "state"))


def test_they_are_shown_to_compare_with_and_never_tried(catalogues: Path, config: Cellferry) -> None:
    request, said = read_request("gpu=a100"), list[str]()
    fleet = Fleet(config)
    try:
        assert shopping.elsewhere(request, config) == (), "nobody has asked yet"
        assert shopping.refresh(fleet, request, config, said.append) >= 3
        shown = shopping.elsewhere(request, config)
        assert [(row.provider, row.microusd_per_hour, row.spot_microusd_per_hour) for row in shown] == [
            ("gcp", 3_670_000, 1_100_000), ("lambdalabs", 1_290_000, None),
        ]  # fmt: skip
        assert {(row.likelihood, row.source, row.gpu, row.gpu_count) for row in shown} == {("price only", "gpuhunt", "a100", 1)}
        assert shown[0].price_age_s is not None and shown[0].price_age_s < 60
        assert not {row.provider for row in shopping.offers(fleet, request, config)} & {"gcp", "lambdalabs"}
        plan, _ = fleet.hunt.plan(shopping.looked_at(request, config))
        assert not {attempt.offer.provider for attempt in plan.attempts} & {"gcp", "lambdalabs"}
        assert shopping.elsewhere(read_request("gpu=a100 provider=demo"), config) == ()
        assert shopping.elsewhere(read_request("cpus=8 memory=16G"), config)[0].instance == "e2-standard-8"
    finally:
        fleet.close()


def test_without_the_catalogues_the_rest_is_there(catalogues: Path, config: Cellferry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert other_clouds.refresh(config, lambda line: None) == 3
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", "http://127.0.0.1:1")
    with pytest.raises(CellferryError, match="the prices of other clouds cannot be had"):
        other_clouds.refresh(config, lambda line: None)
    assert len(other_clouds.kept(config)) == 3, "those of before stay"
    fleet, said = Fleet(config), list[str]()
    try:
        shopping.refresh(fleet, read_request("gpu=a100"), config, said.append)
    finally:
        fleet.close()
    assert any("cannot be had" in line for line in said)


def test_without_gpuhunt_the_way_to_have_it_is_told(config: Cellferry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_clouds, "find_spec", lambda name: None)
    said: list[str] = []
    assert other_clouds.refresh(config, said.append) == 0
    assert "pip install 'cellferry[gpuhunt]'" in said[0]
