"""GPU names as people type them and as tools print them; sizes as makers print them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.capture.request import parse_request
from cellferry.model import Hardware, Offer
from cellferry.placement.fit import fits, gpu_named, nearest_gpus
from cellferry.placement.snapshot import snapshot_offers

GIB = 1 << 30


def machine(gpu: str = "", count: int = 0, gib: float = 0, cpus: int = 8, memory_gib: float = 32) -> Offer:
    return Offer("p", "r", "m", gpu=gpu, gpu_count=count, gpu_memory_bytes=int(gib * GIB), cpus=cpus,
                 memory_bytes=int(memory_gib * GIB))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name", "gib"),
    [
        ("a100", "a100", 0),
        ("a100-80gb", "a100", 80),
        ("a100-80g", "a100", 80),
        ("A100_80G", "a100", 80),
        ("NVIDIA A100-SXM4-80GB", "a100", 80),
        ("NVIDIA A100-PCIE-40GB", "a100", 40),
        ("NVIDIA H100 80GB HBM3", "h100", 80),
        ("NVIDIA H100 NVL", "h100", 0),
        ("Tesla V100-SXM2-16GB", "v100", 16),
        ("Tesla T4", "t4", 0),
        ("NVIDIA L4", "l4", 0),
        ("l40s", "l40s", 0),
        ("NVIDIA GeForce RTX 4090", "rtx4090", 0),
        ("rtx-4090", "rtx4090", 0),
        ("rtx4090", "rtx4090", 0),
        ("NVIDIA RTX A6000", "a6000", 0),
        ("a6000", "a6000", 0),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000ada", 0),
        ("rtx6000ada", "rtx6000ada", 0),
        ("", "", 0),
        ("80gb", "", 80),
    ],
)
def test_names(text: str, name: str, gib: int) -> None:
    assert gpu_named(text) == (name, gib)


A100 = machine("a100", 8, 40, 96, 1152)
A100_80 = machine("NVIDIA A100-SXM4-80GB", 1, 79.25)
T4 = machine("t4", 1, 15)
A10G = machine("a10g", 1, 22888 / 1024)
PLAIN = machine()
BARE = machine(cpus=0, memory_gib=0)


@pytest.mark.parametrize(
    ("words", "offer", "why"),
    [
        ("", PLAIN, ""),
        ("", A100, ""),
        ("cpus=8 memory=32G", PLAIN, ""),
        ("cpus=9", PLAIN, "8 processors, 9 asked"),
        ("memory=64G", PLAIN, "32 GiB memory, 64 GiB asked"),
        ("memory=32G", machine(memory_gib=31.2), ""),
        ("cpus=64 memory=1T", BARE, ""),
        ("gpu=a100", A100, ""),
        ("gpu=a100", A100_80, ""),
        ("gpu=a100:8", A100, ""),
        ("gpu=a100:8", A100_80, "1 x NVIDIA A100-SXM4-80GB, 8 asked"),
        ("gpu=a100-80gb", A100, "a100 of 40 GiB, not 80 GB"),
        ("gpu=a100-80gb", A100_80, ""),
        ("gpu=a100-40g", A100, ""),
        ("gpu=a100-40g", A100_80, "NVIDIA A100-SXM4-80GB of 79.2 GiB, not 40 GB"),
        ("gpu=a100-80g", machine("A100_80G", 1), ""),
        ("gpu=a10", A10G, "a10g, not a10"),
        ("gpu=t4", PLAIN, "no GPU"),
        ("gpu=16G", T4, ""),
        ("gpu=24G", A10G, ""),
        ("gpu=24G", T4, "t4 of 15 GiB, 24 GiB asked"),
        ("gpu=80G", A100, "a100 of 40 GiB, 80 GiB asked"),
        ("gpu=80G", A100_80, ""),
        ("gpu=40G:8", A100, ""),
        ("gpu=80G", PLAIN, "no GPU"),
        ("gpu=rtx4090", machine("NVIDIA GeForce RTX 4090", 2, 24), ""),
        ("disk=100T", PLAIN, ""),
    ],
)
def test_what_fits(words: str, offer: Offer, why: str) -> None:
    assert fits(parse_request(words).hardware, offer) == why


@pytest.mark.parametrize("gpu", ["a100", "a100-40gb", "a100-80gb", "h100", "l4", "l40s", "t4", "v100", "v100-32g", "a10g", "b200"])
def test_every_gpu_of_the_snapshot_is_found_by_its_name(gpu: str) -> None:
    found = {offer.gpu for offer in snapshot_offers() if not fits(Hardware(gpu=gpu, gpu_count=1), offer)}
    assert found == {gpu.partition("-")[0]}


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("a1000", "a100"), ("h1000", "h100"), ("a10", "a10g"), ("l40", "l40s"), ("v10", "v100"), ("A100-80GB", "a100")],
)
def test_the_nearest_name(word: str, nearest: str) -> None:
    assert nearest_gpus(word, snapshot_offers())[0] == nearest


def test_a_name_like_no_other_lists_them_all() -> None:
    assert nearest_gpus("zzz", [T4, A10G, PLAIN]) == ["a10g", "t4"]
    assert nearest_gpus("t4", [PLAIN]) == []


hardware = st.builds(
    Hardware, gpu=st.none() | st.text(max_size=12) | st.sampled_from(["a100", "t4", "a100-80g"]),
    gpu_count=st.integers(0, 9), gpu_memory_bytes=st.none() | st.integers(0, 1 << 40), cpus=st.none() | st.integers(0, 200),
    memory_bytes=st.none() | st.integers(0, 1 << 45),
)  # fmt: skip


@given(hardware, st.builds(machine, st.text(max_size=20), st.integers(0, 9), st.floats(0, 300), st.integers(0, 200)))
def test_more_of_everything_fits_as_well(asked: Hardware, offer: Offer) -> None:
    more = machine(offer.gpu, offer.gpu_count + 1, 0, offer.cpus * 2, 64)
    more = Offer(**{**vars(more), "gpu_memory_bytes": offer.gpu_memory_bytes})
    if not fits(asked, offer):
        assert not fits(asked, more)
