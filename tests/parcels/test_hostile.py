"""Objects that resist: packing them is always a reply, and what stands beside them is right."""

from __future__ import annotations

import random
import weakref
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from cellferry.guest.home import Load, pack_home, pack_nothing
from cellferry.parcels.bare import says
from cellferry.parcels.parcel import PackPlan, Refused, RootFailed
from cellferry.parcels.placeholder import Placeholder
from cellferry.parcels.weakly import target_of

from . import hostile
from .inhabitants import Plain
from .notebook import FarProcess, Notebook
from .two_heaps import TwoHeaps, arrive

KINDS = sorted(hostile.MAKERS)
MADE_THERE = [kind for kind in KINDS if kind not in ("of unhashable", "unhashable class", "of lying", "lying class")]
"""Of a notebook's own classes those that travel; a metaclass that answers nobody lets no one take its class apart."""
SOURCE = Path(hostile.__file__).read_text()


def nest(inner: Any, draw: random.Random) -> Any:
    """``inner`` somewhere in a small graph."""
    for _level in range(draw.randrange(4)):
        inner = draw.choice([lambda x: [1, x], lambda x: {"k": x}, lambda x: (x, "t"), Plain, lambda x: [x, x]])(inner)
    return inner


def send_what_travels(ends: TwoHeaps) -> set[str]:
    """All names of ``here``, as the journey does it, but for those that turn out not to travel; these are returned."""
    failed: set[str] = set()
    while True:
        names = [name for name in ends.here if not name.startswith("__") and name not in failed]
        try:
            ends.send(*names, plan=PackPlan(tolerate=True))
            return failed
        except (RootFailed, Refused) as failure:
            assert failure.name and says(failure.reason)
            failed.add(failure.name)


steps = st.tuples(st.sampled_from(["here", "there"]), st.sampled_from(KINDS), st.integers(0, len(hostile.FAILURES) - 1))


@pytest.mark.slow
@pytest.mark.every_python
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, min_size=1, max_size=5), st.integers(0, 2**32))
@example([("here", "class from 5", 0), ("there", "lying class", 0), ("there", "lying class", 0)], 2711936)
def test_whatever_an_object_does_the_rest_of_the_values_is_right(walk: list[tuple[str, str, int]], seed: int) -> None:
    draw = random.Random(seed)
    ends = TwoHeaps()
    good = ends.here["good"] = {"list": [1], "plain": Plain([2]), "count": 0}
    expected, stays = {"list": [1], "held": [2], "count": 0}, list[Any]()
    for number, (side, kind, failure) in enumerate(walk):
        namespace = ends.here if side == "here" else ends.there
        if side == "there":
            send_what_travels(ends)
        mine = namespace["good"]
        mine["list"].append(number)
        mine["plain"].held.append(number)
        mine["count"] += 1
        expected["list"].append(number)  # type: ignore[attr-defined]
        expected["held"].append(number)  # type: ignore[attr-defined]
        expected["count"] += 1  # type: ignore[operator]
        namespace[f"odd{number}"] = nest(hostile.make(kind, failure), draw)
        if side == "there":
            _parcel, stayed, _replaced = ends.bring(f"odd{number}")
            assert "good" not in stayed and not ends.lost
            here = ends.here[f"odd{number}"]
            again = any(namespace[f"odd{number}"] is each for each in stays)  # it is known to stay, and was said then
            assert (type(here) is Placeholder) == (again or f"odd{number}" in stayed)
            stays += [namespace[f"odd{number}"]] if type(here) is Placeholder else []
        else:
            assert "good" not in send_what_travels(ends)
            ends.bring()
        assert ends.here["good"] is good
        assert {"list": good["list"], "held": good["plain"].held, "count": good["count"]} == expected
        ends.near._sweep_at = ends.far._sweep_at = 0  # housekeeping looks at everything


@pytest.mark.parametrize("failure", range(len(hostile.FAILURES)))
def test_a_change_that_an_object_spoils_is_said_and_the_others_come_home(failure: int) -> None:
    ends = TwoHeaps()
    ends.here.update(odd=[1], good=[2])
    ends.send()
    hostile.set_failure(failure)
    ends.there["odd"].append(hostile.Irreducible())
    ends.there["good"].append(3)
    ends.bring()
    assert ends.here["good"] == [2, 3] and ends.here["odd"] == [1]
    assert ends.lost == ["list"]


@pytest.mark.parametrize("failure", range(len(hostile.FAILURES)))
def test_a_state_that_an_object_here_does_not_take_is_said_and_it_is_as_it_was(failure: int) -> None:
    ends = TwoHeaps()
    ends.here.update(odd=hostile.TakesItOnce(), good=[2])
    ends.send()
    hostile.set_failure(failure)
    ends.there["odd"].held.append(0)
    ends.there["odd"].count = 1
    ends.there["good"].append(3)
    ends.bring()
    assert ends.here["good"] == [2, 3] and ends.here["odd"].count == 0
    assert [obj for obj, _reason in ends.failed] == [ends.here["odd"]]
    ends.here["odd"].count = 5
    ends.send("odd")  # they agree again: it goes there as it is here
    assert ends.there["odd"].count == 5


def test_many_that_do_not_travel_are_found_in_time() -> None:
    ends = TwoHeaps()
    ends.there.update({f"odd{n}": hostile.Irreducible() for n in range(120)}, good=[1])
    _parcel, stayed, _replaced = ends.bring(*[f"odd{n}" for n in range(120)], "good")
    assert len(stayed) == 120 and ends.here["good"] == [1]


def test_when_nothing_can_be_packed_every_new_value_is_a_placeholder_and_every_change_is_said() -> None:
    ends = TwoHeaps()
    ends.here["known"] = [1]
    ends.send()
    ends.there.update(new=[2], odd=hostile.Denier())
    ends.there["known"].append(2)
    load = Load({"new": ends.there["new"], "odd": ends.there["odd"]}, ends.given)
    arrived, _replaced = arrive(pack_nothing(ends.far, load, "why not"), ends.near, "w")
    assert all(type(value) is Placeholder for value in arrived.roots.values())
    assert load.stayed == {"new": "why not", "odd": "why not"} and load.lost == ["list"]
    assert ends.here["known"] == [1]


class Interrupts:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise KeyboardInterrupt


def test_an_interrupt_while_results_are_packed_leaves_them_there() -> None:
    ends = TwoHeaps()
    load = Load({"slow": Interrupts(), "new": [1]})
    arrived, _replaced = arrive(pack_home(ends.far, load), ends.near, "w")
    assert set(load.stayed) == {"slow", "new"}
    assert all(type(value) is Placeholder for value in arrived.roots.values())


def test_proxies_travel_as_proxies(far: FarProcess) -> None:
    with Notebook(far) as notebook:
        notebook.here(
            """
import weakref
class T:
    def __call__(self): return self.x
t = T(); t.x = [1]
p = weakref.proxy(t)
holder = [p, weakref.proxy(t, lambda p: None)]
"""
        )
        notebook.there(
            "t.x.append(2); seen = type(p).__name__, p.x, p.x is t.x; q = weakref.proxy(t); u = T(); r = weakref.proxy(u)"
        )
        assert notebook.value("seen") == ("CallableProxyType", [1, 2], True)
        assert notebook.value("holder[0] is p and t.x == [1, 2] and p.x is t.x")
        assert notebook.value("type(q) is type(p) and q.x is t.x and type(r) is type(p)")
        assert target_of(notebook.value("r")) == (notebook.value("u"),)
        notebook.there("del u, r")
        assert not notebook.error


def test_a_dead_proxy_travels_and_disturbs_no_later_cell(far: FarProcess) -> None:
    with Notebook(far) as notebook:
        notebook.here("import weakref\nclass T: pass\nt = T(); h = T(); h.p = weakref.proxy(t); h.n = 1; keep = [h]")
        notebook.there("h.n += 1")
        notebook.here("del t")
        for number in range(3):
            notebook.heap._sweep_at = 0
            notebook.there("h.n += 1; dead = type(h.p).__name__")
            assert not notebook.error and notebook.value("h.n") == 3 + number
        assert notebook.value("dead") == weakref.ProxyType.__name__


@pytest.mark.slow
@pytest.mark.every_python
def test_hostile_objects_of_the_notebook_itself(far: FarProcess) -> None:
    with Notebook(far) as notebook:
        notebook.here(SOURCE + "\ngood = [0]\n")
        notebook.there("good.append(1)")
        for kind in MADE_THERE:
            for failure in (0, 1, 2, 3):
                notebook.there(f"odd = make({kind!r}, {failure}); good.append(2)")
                assert not notebook.error
                notebook.here("del odd")
        count = 2 + 4 * len(MADE_THERE)
        assert notebook.value("len(good)") == count
        for kind in KINDS:
            notebook.here(f"odd = [make({kind!r}, 1)]; good.append(3)")
            try:
                notebook.there("good.append(len(odd))")
            except AssertionError as refused:  # it cannot be made there: the cell was not run
                assert "refused" in str(refused)
                notebook.here("good.append(1)")
            except BaseException as reason:  # nothing was sent
                assert says(reason)
                notebook.here("good.append(1)")
        assert notebook.value("good")[-2:] == [3, 1] and notebook.value("len(good)") == count + 2 * len(KINDS)
