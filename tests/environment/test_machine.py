"""Packages for the worker's machine: its platform, and the build of PyTorch that its driver runs, from PyTorch's own index."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cellferry.environment.describe import asks_for_torch, lock_file, lock_found
from cellferry.environment.installed import Inventory, take_inventory
from cellferry.environment.lock import Described, Target
from cellferry.environment.machine import builds_for, lock_with_torch, platform_for, torch_builds
from cellferry.environment.sources import Sources, read_sources
from cellferry.errors import EnvironmentFailed
from cellferry.model import Offer
from cellferry.packages import Packages

from .pytorch_index import standing_in
from .wheelhouse import install_by_hand, make_wheel, serving

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
LINUX = f"{TAG}-{TAG}-manylinux_2_17_{platform.machine()}"
MODULE = {"torch/__init__.py": ""}


def machine(driver: str = "550.54.15", **more: Any) -> Offer:
    told: dict[str, Any] = {"gpu": "a100", "gpu_count": 1, "driver": driver, "arch": platform.machine()}
    return Offer("ssh", "box", "box", **told | more)


@pytest.mark.parametrize(
    ("driver", "builds"),
    [
        ("", ("cpu",)), ("580.95.05", ("cu130", "cu128", "cu126", "cu124", "cu121", "cu118")),
        ("575.51", ("cu128", "cu126", "cu124", "cu121", "cu118")), ("550.54.15", ("cu124", "cu121", "cu118")),
        ("535.104", ("cu121", "cu118")), ("470.1", ("cpu",)), ("what?", ("cpu",)),
    ],
)  # fmt: skip
def test_builds_of_pytorch_for_a_driver(driver: str, builds: tuple[str, ...]) -> None:
    assert torch_builds(driver) == builds
    assert Target("3.11", torch_backend=builds[0]).arguments()[-2:] == ["--torch-backend", builds[0]]


def test_builds_that_every_machine_on_offer_runs() -> None:
    cpu = machine("", gpu="", gpu_count=0)
    assert builds_for([machine("580.105.08"), machine("550.54.15")]) == ("cu124", "cu121", "cu118")
    assert builds_for([machine(), cpu]) == ("cpu",)
    assert builds_for([machine(), machine("")]) == (), "nobody knows that one's driver"
    assert builds_for([machine(simulated=True)]) == () and builds_for([]) == ()


def test_the_platform_of_machines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert platform_for([]) == platform_for([machine()]) == ""
    other = "aarch64" if platform.machine() == "x86_64" else "x86_64"
    assert platform_for([machine(arch=other)]) == f"{other}-unknown-linux-gnu"
    assert platform_for([machine(arch=other, simulated=True)]) == ""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert platform_for([machine()]) == f"{platform.machine()}-unknown-linux-gnu"


Lock = Callable[[Sequence[str]], Described]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    """The user's own index, and beside it PyTorch's, which has not every version for every CUDA."""
    monkeypatch.setenv("CELLFERRY_CACHE_DIR", str(tmp_path / "cache"))
    public, pytorch = tmp_path / "public", tmp_path / "pytorch"
    make_wheel(public / "lib-a", "lib_a", "1", {"lib_a.py": ""}, ["torch>=2"])
    make_wheel(public / "torch", "torch", "2.4.0", MODULE, tag=LINUX)
    make_wheel(public / "nvidia-x", "nvidia_x", "1", {"nvidia_x.py": ""})
    make_wheel(pytorch / "whl/cu128/torch", "torch", "2.8.0+cu128", MODULE, tag=LINUX)
    make_wheel(pytorch / "whl/cu124/torch", "torch", "2.4.0+cu124", MODULE, ["nvidia-x==1"], LINUX)
    make_wheel(pytorch / "whl/cu121/torch", "torch", "2.4.0+cu121", MODULE, tag=f"{TAG}-{TAG}-win_amd64")
    with serving(public) as index, standing_in(pytorch, tmp_path / "keys") as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield read_sources({"PIP_INDEX_URL": index.url}, files=())


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """What is installed here: a library that needs torch, and a torch for the CPU alone."""
    made, site = tmp_path / "made", tmp_path / "site"
    site.mkdir()
    install_by_hand(site, make_wheel(made, "torch", "2.4.0+cpu", MODULE, tag=LINUX))
    install_by_hand(site, make_wheel(made, "lib_a", "1", {"lib_a.py": ""}, ["torch>=2"]))
    return take_inventory([str(site)])


@pytest.fixture
def lock(sources: Sources, inventory: Inventory) -> Lock:
    """Locks what is installed here with the first of some builds that does."""

    def lock(builds: Sequence[str]) -> Described:
        described, target = lock_with_torch(
            lambda target: lock_found(["lib-a"], inventory, target, sources), Target(HERE), builds
        )
        assert target.torch_backend in ("", *builds)
        return described

    return lock


def test_a_torch_for_the_cpu_becomes_that_for_the_workers_driver(lock: Lock) -> None:
    found = lock(torch_builds("550.54.15"))
    assert found.lock.versions == {"lib-a": "1", "torch": "2.4.0+cu124", "nvidia-x": "1"} and not found.notes
    assert "/whl/cu124/" in found.lock.text and not any(package.sent for package in found.lock.packages)


def test_an_older_cuda_where_the_version_here_was_not_built_for_the_newest(lock: Lock) -> None:
    assert lock(torch_builds("570.86.15")).lock.versions["torch"] == "2.4.0+cu124"


def test_no_build_for_the_worker_is_an_error_that_says_so(lock: Lock) -> None:
    with pytest.raises(EnvironmentFailed, match=r"no build .*\(cu121, cu118\)") as caught:
        lock(torch_builds("535.104.05"))
    assert "torch" in caught.value.what and "newer driver" in caught.value.advice


def test_where_pytorchs_index_cannot_be_reached_the_others_are_asked(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    found = lock(["cu124"])
    assert found.lock.versions["torch"] == "2.4.0" and "cannot be reached" in found.notes[0]


def test_files_that_ask_for_torch(tmp_path: Path) -> None:
    for name, text, asks in (
        ("requirements.txt", "numpy\ntorch>=2\n", True), ("requirements.txt", "torchmetrics\npytorch-thing\n", False),
        ("environment.yml", "dependencies: [pip: [torchvision]]", True), ("pylock.toml", 'name = "torch"', False),
        ("gone.txt", None, False),
    ):  # fmt: skip
        if text is not None:
            (tmp_path / name).write_text(text)
        assert asks_for_torch(tmp_path / name) == asks, name


def test_a_file_gets_the_workers_build_too(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("torch==2.4.0\n")

    def make(target: Target) -> Described:
        return lock_file(tmp_path / "requirements.txt", target, sources)

    assert lock_with_torch(make, Target(HERE), ("cu124",))[0].lock.versions["torch"] == "2.4.0+cu124"


def test_a_cell_gets_what_its_machine_runs(sources: Sources, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellferry.packages.take_inventory", lambda: inventory)
    packages = Packages("auto", lambda names: ())
    packages.sources = sources
    torch = []
    for machines in ([machine("580.95.05"), machine("550.54.15")], [machine("555.42.02")], []):
        packages.suit(machines)
        packages.need(["lib_a"], lambda line: None)
        assert packages.lock is not None
        torch.append((packages.lock.versions["torch"], packages.lock.key))
    assert [version for version, _ in torch] == ["2.4.0+cu124", "2.4.0+cu124", "2.4.0"]
    assert torch[0] == torch[1], "a machine that runs what was chosen changes nothing"
    packages.suit([machine("535.104.05")])
    with pytest.raises(EnvironmentFailed, match="no build of this torch"):
        packages.need(["lib_a"], lambda line: None)
