"""Which worker serves a request, and the states it goes through; no process here."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellferry.errors import RequestError
from cellferry.fleet.states import Entry, after, choose
from cellferry.model import CellRequest, Endpoint, Hardware, Worker, WorkerId

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")

STATES = ["starting", "ready", "ending", "ended"]
EVENTS = ["started", "failed", "lost", "stop", "stopped"]
HARDWARE = st.sampled_from([Hardware(), Hardware(gpu="a100", gpu_count=1), Hardware(cpus=8)])
NAMES = st.sampled_from(["default", "default-2", "train"])
ENTRIES = st.dictionaries(NAMES, st.tuples(HARDWARE, st.sampled_from(STATES))).map(
    lambda found: {name: Entry(name, hardware, state) for name, (hardware, state) in found.items()}
)
WORKER = Worker(WorkerId("w"), "default", "local", Endpoint("unix"), Hardware())


def request(name: str | None = None, hardware: Hardware | None = None) -> CellRequest:
    return CellRequest(name=name, hardware=hardware or Hardware())


@given(ENTRIES, st.none() | NAMES, HARDWARE)
def test_the_choice_fits_the_states(entries: dict[str, Entry], name: str | None, hardware: Hardware) -> None:
    try:
        choice = choose(request(name, hardware), entries)
    except RequestError:
        assert name in entries and hardware not in (Hardware(), entries[name].hardware)
        return
    entry = entries.get(choice.name)
    match choice.action:
        case "start":
            assert entry is None or entry.state == "ended"
        case "reuse":
            assert entry is not None and entry.state == "ready"
        case "wait":
            assert entry is not None and entry.state in ("starting", "ending")
    assert name in (None, choice.name)
    if name is None and entry is not None and entry.state != "ended":
        assert entry.hardware == hardware


def test_names_of_workers_without_one() -> None:
    gpu = Hardware(gpu="a100", gpu_count=1)
    entries = {"default": Entry("default", Hardware(), "ready", WORKER)}
    assert choose(request(), entries).name == "default"
    assert choose(request(hardware=gpu), entries).name == "default-2"
    entries["default-2"] = Entry("default-2", gpu, "ready", WORKER)
    assert choose(request(hardware=gpu), entries).action == "reuse"


def test_a_name_with_other_hardware_is_refused_with_advice() -> None:
    entries = {"train": Entry("train", Hardware(cpus=8), "ready", WORKER)}
    assert choose(request("train"), entries).action == "reuse"
    with pytest.raises(RequestError, match="%remote down train"):
        choose(request("train", Hardware(cpus=16)), entries)


@given(st.lists(st.sampled_from(EVENTS), max_size=12))
def test_every_story_ends_or_is_told(events: list[str]) -> None:
    entry = Entry("default", Hardware())
    for number, event in enumerate(events):
        try:
            entry = after(entry, event, WORKER)  # type: ignore[arg-type]
        except RuntimeError as error:
            assert event in str(error) and all(told in str(error) for told in events[:number])
            return
        assert entry.state in STATES
    assert list(entry.story) == events


def test_the_usual_story() -> None:
    entry = Entry("default", Hardware())
    states = []
    for event in ("started", "lost", "stopped"):
        entry = after(entry, event, WORKER)  # type: ignore[arg-type]
        states.append(entry.state)
    assert states == ["ready", "ending", "ended"]
