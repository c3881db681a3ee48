"""Single trips between two heaps: what is sent, what stays, what is forgotten, and what damage does."""

from __future__ import annotations

import copyreg
import gc
import pickle
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellferry.errors import CannotTravel, ChunkMismatch, ParcelError, StaysThere
from cellferry.guest.home import Load, pack_home
from cellferry.parcels import leaves as leaves_module
from cellferry.parcels.leaves import CHUNK_BYTES
from cellferry.parcels.parcel import PackPlan, RootFailed, pack
from cellferry.parcels.placeholder import BOUND_TO_PROCESS, MIME, Placeholder

from .inhabitants import Plain, counter
from .two_heaps import TwoHeaps, arrive, carry


@pytest.fixture
def ends() -> TwoHeaps:
    return TwoHeaps()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes hashed since the list was last cleared."""
    seen: list[int] = []
    original = leaves_module._digest_range

    def counting(view: memoryview, first: int, last: int) -> bytes:
        seen.append(len(view[first * CHUNK_BYTES : last * CHUNK_BYTES]))
        return original(view, first, last)

    monkeypatch.setattr(leaves_module, "_digest_range", counting)
    return seen


def sent_bytes(parcel: Any) -> int:
    return sum(map(len, parcel.parts)) + int(parcel.leaf_bytes)


def test_an_unchanged_value_is_not_sent_again(ends: TwoHeaps) -> None:
    ends.here["a"] = [list(range(1000)), np.zeros(100_000)]
    first = sent_bytes(ends.send("a"))
    assert first > 800_000
    assert sent_bytes(ends.send("a")) < 100
    parcel, _stayed, _replaced = ends.bring()
    assert sent_bytes(parcel) < 100


def test_only_the_changed_chunk_of_an_array_travels(ends: TwoHeaps, hashed: list[int]) -> None:
    ends.here["a"] = a = np.zeros(16 * CHUNK_BYTES // 8)
    ends.send("a")
    hashed.clear()
    ends.there["a"][5] = 1
    parcel, _stayed, _replaced = ends.bring()
    assert parcel.leaf_bytes == CHUNK_BYTES
    assert a[5] == 1
    # the other end hashed all of it once and what it sent, this end what came and what it then has
    assert sum(hashed) <= 16 * CHUNK_BYTES + 3 * CHUNK_BYTES
    hashed.clear()
    assert ends.send("a").leaf_bytes == 0
    assert sum(hashed) == 16 * CHUNK_BYTES


@pytest.mark.parametrize("kind", ["array", "tensor", "frame"])
def test_a_new_value_is_hashed_once_on_each_end(ends: TwoHeaps, hashed: list[int], kind: str) -> None:
    size = 8 * CHUNK_BYTES
    if kind == "tensor":
        torch = pytest.importorskip("torch")
        ends.here["a"] = torch.zeros(size // 8, dtype=torch.float64)
    elif kind == "frame":
        pandas = pytest.importorskip("pandas")
        ends.here["a"] = pandas.DataFrame({"x": np.arange(size // 8)}, copy=False)
    else:
        ends.here["a"] = np.zeros(size // 8)
    ends.send("a")
    assert sum(hashed) <= 2 * size + CHUNK_BYTES


def test_arrays_arrive_owning_and_writable(ends: TwoHeaps) -> None:
    ends.here["small"], ends.here["large"] = np.arange(4), np.zeros((700, 900))
    ends.here["fields"] = np.zeros(5000, [("a", "i8"), ("b", "f8")])
    ends.send()
    for name in ("small", "large", "fields"):
        array = ends.there[name]
        assert array.flags.owndata and array.flags.writeable and array.base is None
        array.resize((3, 2), refcheck=False)


@pytest.mark.parametrize("collected", [False, True])
def test_an_array_resized_there_is_resized_here_in_place(ends: TwoHeaps, collected: bool) -> None:
    """Also where dicts and tuples hold it that the collector has lost sight of: they hold nothing but arrays."""
    ends.here["a"] = np.arange(4)
    holder, deep = [ends.here["a"]], [{"a": (ends.here["a"], np.zeros(1))}]
    ends.send("a")
    ends.there["a"].resize((6,), refcheck=False)
    ends.there["a"][5] = 7
    if collected:
        gc.collect()
    _parcel, _stayed, replaced = ends.bring()
    assert not replaced
    assert holder[0] is ends.here["a"] is deep[0]["a"][0] and holder[0].tolist() == [0, 1, 2, 3, 0, 7]


def test_memory_under_a_view_is_never_moved(ends: TwoHeaps) -> None:
    ends.here["a"] = a = np.arange(4)
    view = a[1:]
    ends.send("a")
    ends.there["a"].resize((100_000,), refcheck=False)
    _parcel, _stayed, replaced = ends.bring()
    assert [old for old, _new in replaced] == [a] or replaced[0][0] is a
    assert len(ends.here["a"]) == 100_000
    assert view.tolist() == [1, 2, 3] and a.tolist() == [0, 1, 2, 3]


def test_a_small_window_on_large_memory_travels_alone(ends: TwoHeaps) -> None:
    large = np.zeros(1_000_000)
    ends.here["w"] = large[10:20]
    assert sent_bytes(ends.send("w")) < 1000
    ends.there["w"][0] = 5
    ends.bring()
    assert large[10] == 5


def test_a_strided_window_is_changed_in_place(ends: TwoHeaps) -> None:
    large = np.zeros(1_000_000)
    ends.here["w"] = w = large[::1000]
    ends.send("w")
    ends.there["w"][2] = 5
    _parcel, _stayed, replaced = ends.bring()
    assert not replaced and large[2000] == 5 and w[2] == 5


def test_a_window_shares_its_memory_once_that_travels_too(ends: TwoHeaps) -> None:
    large = np.zeros(1_000_000)
    ends.here.update(w=large[10:20])
    ends.send("w")
    ends.here.update(a=large)
    ends.send("a", "w")
    ends.there["a"][10] = 3
    assert ends.there["w"][0] == 3
    ends.there["w"][1] = 4
    ends.bring()
    assert large[10:12].tolist() == [3, 4]
    assert set(ends.near.objects) == set(ends.far.objects)


def test_windows_that_overlap_share_memory(ends: TwoHeaps) -> None:
    large = np.zeros(1_000_000)
    ends.here.update(v=large[10:20], w=large[15:25])
    ends.send("v", "w")
    ends.there["v"][9] = 1
    assert ends.there["w"][4] == 1


def test_copy_on_write_of_frames_is_never_violated(ends: TwoHeaps) -> None:
    pandas = pytest.importorskip("pandas")
    ends.here["df"] = df = pandas.DataFrame({"a": [1, 2, 3], "b": [1.0, 2.0, 3.0]})
    borrowed, column = df.copy(deep=False), df["a"]
    alias = df
    ends.remote("df.loc[0, 'a'] = 99; df['c'] = 1", "df")
    assert alias is ends.here["df"] and alias.loc[0, "a"] == 99 and list(alias) == ["a", "b", "c"]
    assert borrowed.loc[0, "a"] == 1 and column[0] == 1 and list(borrowed) == ["a", "b"]
    alias.loc[1, "a"] = 5
    ends.remote("total = int(df.a.sum())", "df", bind=("total",))
    assert ends.here["total"] == 99 + 5 + 3


def test_the_sweep_forgets_on_both_ends(ends: TwoHeaps) -> None:
    one, other = Plain(None), Plain(None)
    one.held, other.held = other, one
    ends.here.update(ring=one, kept=[1], much=[[i] for i in range(1000)])
    ends.send()
    before = len(ends.near)
    del ends.here["ring"], ends.here["much"], one, other
    ends.given, ends.sent = (), None
    for name in ("ring", "much"):
        del ends.there[name]
    gc.collect()
    ends.send("kept")
    assert len(ends.near) < before - 1000
    assert set(ends.near.objects) == set(ends.far.objects)
    ends.there["kept"].append(2)
    ends.given = (ends.there["kept"],)
    ends.bring()
    assert ends.here["kept"] == [1, 2]


def test_a_deleted_large_value_is_forgotten_at_the_next_trip(ends: TwoHeaps) -> None:
    ends.here.update(a=np.zeros(1 << 18), d={})
    ends.here["d"]["held"] = np.ones(1 << 18)
    ends.send()
    del ends.here["a"], ends.here["d"]["held"]
    ends.sent = None
    ends.send("d")
    del ends.here["d"]
    ends.sent = None
    ends.here["x"] = 1
    ends.send("x")
    assert not any(isinstance(obj, np.ndarray) for obj in ends.far.objects.values())


def test_what_was_swept_but_never_told_is_told_later(ends: TwoHeaps) -> None:
    ends.here["much"] = [[i] for i in range(1000)]
    ends.send()
    del ends.here["much"], ends.there["much"]
    ends.given, ends.sent = (), None
    dropped = ends.near.sweep()
    assert len(dropped) > 1000
    assert set(ends.near.sweep()) == set(dropped)  # the first parcel was never sent
    ends.here["x"] = 1
    ends.send("x")
    assert len(ends.far) == len(ends.near) == 0
    assert not ends.near.sweep()


@pytest.mark.parametrize("size", [CHUNK_BYTES // 8, 6 * CHUNK_BYTES // 8])
def test_a_damaged_leaf_is_refused(ends: TwoHeaps, size: int) -> None:
    ends.here["a"] = a = np.arange(float(size))
    ends.here["l"] = [1]
    ends.send("l")
    known = dict(ends.far.objects)

    def damage(views: list[memoryview]) -> None:
        views[0][123] ^= 1

    with pytest.raises(ChunkMismatch, match="chunk 0 of a value"):
        ends.send("a", "l", damage=damage)
    assert ends.far.objects == known
    ends.there["l"].append(2)
    ends.given = (ends.there["l"],)
    ends.bring()
    assert ends.here["l"] == [1, 2]
    ends.send("a")
    assert np.array_equal(ends.there["a"], a)


def test_ends_that_disagree_say_so(ends: TwoHeaps) -> None:
    ends.here["a"] = [1]
    ends.send()
    ends.far.drop(list(ends.far.objects))
    with pytest.raises(ParcelError, match="disagree"):
        ends.send()


class Registered(Exception):
    pass


def test_what_is_registered_for_a_class_is_better_than_what_is_known_of_its_bases(
    ends: TwoHeaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(copyreg.dispatch_table, Registered, lambda error: (Registered, ("as registered",)))
    ends.here["x"] = [Registered(1)]
    ends.send()
    assert ends.there["x"][0].args == ("as registered",)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (i for i in ()),
        threading.Lock,
        lambda: sys._getframe(),
        lambda: Path("/dev/null").open(),  # noqa: SIM115
        lambda: Path("/dev/null").open("w"),  # noqa: SIM115
        lambda: Path("/dev/null").open("rb"),  # noqa: SIM115
        lambda: memoryview(b"abc")[1:],
    ],
)
def test_what_is_bound_to_this_process_is_refused(ends: TwoHeaps, make: Any) -> None:
    ends.here["x"] = {"inside": [make()]}
    with pytest.raises(CannotTravel):
        pack(ends.near, {"x": ends.here["x"]}, PackPlan())
    with pytest.raises(RootFailed) as failed:
        pack(ends.near, {"x": ends.here["x"]}, PackPlan(tolerate=True))
    assert failed.value.name == "x"


def test_a_known_value_that_took_up_a_lock_is_blamed_on_its_root(ends: TwoHeaps) -> None:
    ends.here.update(a={}, b=[1])
    ends.send()
    ends.here["a"]["lock"] = threading.Lock()
    ends.here["b"].append(2)
    with pytest.raises(RootFailed) as failed:
        pack(ends.near, {"b": ends.here["b"], "a": ends.here["a"]}, PackPlan(tolerate=True))
    assert failed.value.name == "a"
    ends.send("b")  # a cell that does not name it is not bothered
    assert ends.there["b"] == [1, 2]


def test_a_file_stays_whatever_its_state(ends: TwoHeaps) -> None:
    """Cloudpickle would make a text of one that can be read, and has its own words for the others."""
    code = "null = open('/dev/null')\nsink = open('/dev/null', 'w')\nwith open('/dev/null') as shut: pass"
    _parcel, stayed, _replaced = ends.remote(code, bind=("null", "sink", "shut"))
    assert stayed == dict.fromkeys(("null", "sink", "shut"), BOUND_TO_PROCESS)


def test_a_bound_root_stays_and_comes_back_as_itself(ends: TwoHeaps) -> None:
    ends.here["n"] = 1
    _parcel, stayed, _replaced = ends.remote(
        "g = (i * i for i in range(5)); holder = {'n': n}", "n", bind=("g", "holder")
    )
    assert set(stayed) == {"g"}
    placeholder = ends.here["g"]
    assert isinstance(placeholder, Placeholder) and "generator" in repr(placeholder)
    real = ends.there["g"]
    ends.here["again"] = [placeholder]
    ends.send("again", "g")
    assert ends.there["again"][0] is real and ends.there["g"] is real


def test_a_lock_inside_a_known_container_is_a_placeholder_at_home(ends: TwoHeaps) -> None:
    ends.here["d"] = {}
    ends.remote("import threading; d['lock'] = threading.Lock(); d['n'] = 1", "d")
    assert ends.here["d"]["n"] == 1
    assert isinstance(ends.here["d"]["lock"], Placeholder)
    with pytest.raises(StaysThere):
        ends.here["d"]["lock"].acquire()
    with pytest.raises(StaysThere):
        pickle.dumps(ends.here["d"]["lock"])


@pytest.mark.parametrize(
    "make", ["list(range(100_000))", "'x' * 200_000", "b'x' * 200_000", "dict.fromkeys(range(50_000))"]
)
def test_a_large_built_in_value_stays_too(ends: TwoHeaps, make: str) -> None:
    ends.here.update(n=1, holder={})
    code = f"big = {make}; alias = big; holder['big'] = big"
    ends.send("n", "holder")
    exec(code, ends.there)
    parcel, stayed, _replaced = ends.bring("big", "alias", limit=10_000)
    assert set(stayed) >= {"big"} and sent_bytes(parcel) < 2000
    placeholder = ends.here["big"]
    assert isinstance(placeholder, Placeholder)
    assert ends.here["alias"] is placeholder and ends.here["holder"]["big"] is placeholder
    ends.send("big", "holder")
    assert ends.there["big"] is ends.there["holder"]["big"] and not isinstance(ends.there["big"], Placeholder)


def test_a_value_that_stayed_can_be_fetched(ends: TwoHeaps) -> None:
    ends.here["n"] = 1
    ends.send("n")
    exec("big = list(range(100_000)); holder = [big]", ends.there)
    ends.bring("big", limit=1000)
    oid = ends.near.oid_of[id(ends.here["big"])]
    parcel = pack_home(ends.far, Load({"big": ends.far.objects[oid]}, without=frozenset([oid])))
    arrived, _replaced = arrive(parcel, ends.near)
    parcel.sealed(ends.far)
    ends.here["big"] = arrived.roots["big"]
    assert ends.here["big"] == list(range(100_000))
    ends.here["big"].append("local")
    ends.send("big")
    assert ends.there["holder"][0][-1] == "local"


def test_globals_of_functions_travel_as_further_roots(ends: TwoHeaps) -> None:
    exec("limit = [3]\ndef inner(): return limit[0]\ndef outer(): return inner() + 1", ends.here)
    plan = PackPlan(
        more=lambda functions: {n: ends.here[n] for f in functions for n in f.__code__.co_names if n in ends.here}
    )
    parcel = pack(ends.near, {"outer": ends.here["outer"]}, plan)
    arrived, _replaced = arrive(parcel, ends.far)
    ends.there.update(arrived.roots)
    assert set(parcel.roots) == {"outer", "inner", "limit"}
    assert eval("outer()", ends.there) == 4
    assert ends.there["outer"].__globals__ is ends.there


def test_a_change_that_no_cell_mentions_comes_home_too(ends: TwoHeaps) -> None:
    step, look = counter([1])
    ends.here.update(step=step, look=look, other=1)
    ends.send("step", "look")
    ends.send("other")
    ends.there["step"]()  # a callback, some time later
    ends.bring()
    assert look()[0] == 1


def test_an_object_that_cannot_change_in_place_is_replaced_in_containers_too(ends: TwoHeaps) -> None:
    import itertools

    # since 3.14 no iterator of itertools pickles
    c = itertools.count(3) if sys.version_info < (3, 14) else enumerate([3, 4, 5], 3)
    ends.here["c"] = c
    unknown = [c, {"k": c}]
    ends.here["holder"] = Plain(c)
    ends.send("c", "holder")
    next(ends.there["c"])
    _parcel, _stayed, replaced = ends.bring()
    assert replaced[0][0] is c
    new = ends.here["c"]
    assert next(new) in (4, (4, 4))
    assert unknown[0] is new and unknown[1]["k"] is new and ends.here["holder"].held is new  # type: ignore[index]


def test_state_that_raises_leaves_the_object_as_it_was(ends: TwoHeaps) -> None:
    from .inhabitants import Stated

    ends.here["s"] = s = Stated(1)
    ends.send("s")
    ends.there["s"].count = 5
    ends.given = (ends.there["s"],)
    original = Stated.__setstate__

    def failing(self: Stated, state: dict[str, Any]) -> None:
        if self is s:
            raise RuntimeError("not now")
        original(self, state)

    Stated.__setstate__ = failing  # type: ignore[method-assign]
    try:
        _parcel, _stayed, replaced = ends.bring()
    finally:
        Stated.__setstate__ = original  # type: ignore[method-assign]
    assert replaced and s.count == 0 and ends.here["s"].count == 5


def test_a_parcel_is_no_ordinary_pickle(ends: TwoHeaps) -> None:
    ends.here["a"] = np.zeros(1000)
    meta, buffers = carry(ends.send("a"))
    with pytest.raises(RuntimeError, match="part of a cellferry parcel"):
        pickle.loads(b"".join(map(bytes, buffers[: meta["parts"]])))


def test_states_come_before_the_sets_that_hash_them(ends: TwoHeaps) -> None:
    class Key:
        def __init__(self, name: str) -> None:
            self.name = name

        def __hash__(self) -> int:
            return hash(self.name)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and other.name == self.name

    key = Key("a")
    ends.here.update(key=key, found={key}, table={key: 1}, Key=Key)
    ends.send("found", "table", "key")
    code = "found.clear(); table.clear(); key.name = 'b'; found.update([key, 1]); table[key] = 2"
    exec(code, ends.there)
    ends.bring()
    assert key in ends.here["found"] and ends.here["table"][key] == 2


def test_what_an_object_keeps_out_of_its_pickle_stays_with_it(ends: TwoHeaps) -> None:
    """As the advice for locks says: ``__getstate__`` leaves it out. A change made there must not take it away here."""
    source = """
import threading
class Model:
    def __init__(self):
        self.lock, self.weights, self.old = threading.Lock(), [1], True
    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "lock"}
model = Model()
"""
    exec(source, ends.here)
    model, lock = ends.here["model"], ends.here["model"].lock
    ends.remote("model.weights.append(2); model.fitted = True; del model.old", "model")
    assert model.lock is lock
    assert vars(model) == {"lock": lock, "weights": [1, 2], "fitted": True}


def test_a_placeholder_tells_a_frontend_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    placeholder = Placeholder("dict", None, 123, "", "a100")
    assert placeholder._repr_mimebundle_()[MIME] == {
        "name": "",
        "type": "dict",
        "size_bytes": 123,
        "worker": "a100",
        "reason": "",
    }
    monkeypatch.setattr(sys.modules["__main__"], "model", placeholder, raising=False)
    shown = placeholder._repr_mimebundle_()
    assert shown["text/plain"] == repr(placeholder) and shown[MIME]["name"] == "model"


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_arrays_get_another_layout_without_a_warning_of_numpy(ends: TwoHeaps) -> None:
    """What a user still may do in place, with numpy's warning for the user, is done here without one for us."""
    ends.here["typed"] = typed = np.zeros(500, [("a", "i8"), ("b", "f8")])  # a leaf of its own
    ends.here["table"] = table = np.arange(400.0)
    ends.here["raw"] = raw = np.arange(400.0)
    ends.here["grown"] = grown = np.arange(400.0)
    ends.here["window"] = window = table[:100]
    ends.send()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ends.there["typed"].dtype.names = ("a", "c")
        ends.there["table"].shape = (20, 20)
        ends.there["raw"].dtype = "i8"
        ends.there["window"].shape = (10, 10)
        ends.there["grown"].resize(500, refcheck=False)
    ends.given = tuple(ends.there[name] for name in ("typed", "table", "raw", "grown", "window"))
    _parcel, _stayed, replaced = ends.bring()
    assert not [
        old for old, _new in replaced if old is not grown
    ]  # whether it may be resized depends on who looks at it
    assert typed is ends.here["typed"] and table is ends.here["table"] and raw is ends.here["raw"]
    assert table.shape == (20, 20) and raw.dtype == "i8" and window.shape == (10, 10) and window.base is table
    assert ends.here["grown"].shape == (500,)


def test_what_lives_stays_known_and_what_died_does_not(ends: TwoHeaps) -> None:
    """However many references of its own this Python's ``getrefcount`` counts."""
    ends.here["rows"] = [[[i]] for i in range(200)]
    ends.here["big"] = np.zeros(1 << 18)  # large values are looked at every time
    for cell in ("rows[0][0] += [1]", "rows[1][0] += [2]"):
        ends.remote(cell, "rows", "big")
    lists = [obj for obj in ends.near.objects.values() if type(obj) is list]
    assert len(lists) == 1 + 2 * 200 and set(ends.near.objects) == set(ends.far.objects)
    assert any(obj is ends.here["big"] for obj in ends.near.objects.values())
    assert ends.here["rows"][:2] == [[[0, 1]], [[1, 2]]]
    del ends.here["rows"][100:], ends.there["rows"][100:], ends.here["big"], ends.there["big"], lists
    ends.given, ends.sent = (), None
    ends.near.sweep()
    assert len([obj for obj in ends.near.objects.values() if type(obj) is list]) == 1 + 2 * 100
    assert not any(isinstance(obj, np.ndarray) for obj in ends.near.objects.values())


def test_no_id_that_a_walk_met_is_used_again_while_it_lives(ends: TwoHeaps) -> None:
    """Packing asks by id whether an object's ``__dict__`` was met; some dicts are made for the walk alone."""
    walk = ends.near.walk({"number": number} for number in range(100))
    fresh = [{"number": number} for number in range(200)]
    assert not [table for table in fresh if id(table) in walk.seen]
