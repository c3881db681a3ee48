"""Python's own containers: aliases, order, recursion, subclasses."""

from __future__ import annotations

import sys

import pytest

from cellferry.errors import CannotTravel

from .notebook import FarProcess, same_as_local

CASES: dict[str, list[str]] = {
    "a list and all who hold it": [
        """
        a = [1]
        h = {"k": a}
        b = a
        def f(x=a):
            return x
        """,
        """
        %%remote
        a.append(2)
        """,
    ],
    "the order of a dict": [
        """
        d = {"a": 1, "b": 2}
        h = [d]
        """,
        """
        %%remote
        v = d.pop("a")
        d["c"] = 3
        d["a"] = v
        """,
    ],
    "values that contain themselves": [
        """
        l = [1]
        l.append(l)
        d = {}
        d["d"] = d
        class C:
            pass
        c = C()
        c.c = c
        t = ([],)
        t[0].append(t)
        """,
        """
        %%remote
        l.append(2)
        d["e"] = l
        c.l = l
        t[0].append(3)
        """,
    ],
    "a dict that is its own attributes": [
        """
        class AD(dict):
            def __init__(s, **k):
                super().__init__(**k)
                s.__dict__ = s
        d = AD(a=1)
        e = d
        class O:
            pass
        o = O()
        vd = vars(o)
        """,
        """
        %%remote
        d.b = 2
        o.x = 1
        vd["y"] = 2
        """,
        """
        q = d["b"], vd["x"], o.y
        """,
    ],
    "subclasses of containers": [
        """
        import collections
        class L(list):
            pass
        class D(dict):
            pass
        class S(set):
            pass
        class Q(collections.deque):
            pass
        class DD(collections.defaultdict):
            pass
        class OD(collections.OrderedDict):
            pass
        l = L([1])
        d = D(a=1)
        s = S([1])
        q = Q([1], maxlen=5)
        dd = DD(list)
        od = OD(a=1, b=2)
        l.x = 1
        h = [l, d, s, q, dd, od]
        dq = collections.deque([1, 2], maxlen=2)
        cnt = collections.Counter("aab")
        """,
        """
        %%remote
        l.append(2)
        l.y = [l]
        d["b"] = 2
        d.z = 1
        s.add(2)
        q.append(2)
        dd["x"].append(1)
        od.move_to_end("a")
        dq.append(3)
        cnt["z"] += 1
        """,
    ],
    "bytearrays and arrays that others look into": [
        """
        import array
        b = bytearray(b"abc")
        m = memoryview(b)
        a = array.array("d", [1, 2])
        h = [b, a]
        import numpy as np
        f = np.frombuffer(b, np.uint8)
        """,
        """
        %%remote
        b[0] = 65
        a[0] = 9
        a2 = bytes(m)
        """,
        """
        q = bytes(m), f.tolist(), b, a
        """,
    ],
    "read-only views of a dict": [
        """
        import types
        d = {"a": [1]}
        mp = types.MappingProxyType(d)
        ns = types.SimpleNamespace(x=[1])
        ns2 = ns
        """,
        """
        %%remote
        d["a"].append(2)
        ns.y = ns.x
        ns.x.append(3)
        """,
        """
        q = mp["a"] is d["a"]
        """,
    ],
    "tuples and long strings keep their identity": [
        """
        a = [1]
        b = (a,)
        c = frozenset([1])
        d = {"x": b}
        s = "q" * 20000
        e = [s]
        """,
        """
        %%remote
        n = (a, b, s)
        m = n[2] is s
        """,
        """
        z = n[0] is a, n[1] is b, n[2] is s, e[0] is s
        """,
    ],
    "sentinels": [
        """
        S = object()
        l = [S]
        import dataclasses
        M = dataclasses.MISSING
        """,
        """
        %%remote
        r = S
        g = M is dataclasses.MISSING
        l.append(S)
        """,
        """
        q = r is S, M is dataclasses.MISSING
        """,
    ],
}


@pytest.mark.parametrize("cells", CASES.values(), ids=CASES)
def test_containers_are_as_if_all_had_run_here(far: FarProcess, cells: list[str]) -> None:
    same_as_local(far, *cells)


DEEP: dict[str, list[str]] = {
    "a linked list of 20,000": [
        """
        class N:
            def __init__(s, v, n):
                s.v = v
                s.n = n
        h = None
        for i in range(20000):
            h = N(i, h)
        l = h
        """,
        """
        %%remote
        h.v = -1
        x = h.n.n.v
        h.n.n.v = 8
        """,
        """
        y = l.v, l.n.n.v
        h = l = None
        """,
    ],
    "20,000 lists in each other": [
        """
        l = []
        q = l
        for i in range(20000):
            l.append([])
            l = l[0]
        """,
        """
        %%remote
        q.append(1)
        """,
        """
        r = q[1]
        q = l = None
        """,
    ],
}


@pytest.mark.parametrize("cells", DEEP.values(), ids=DEEP)
def test_deep_nesting_travels_or_is_refused_with_the_remedy(far: FarProcess, cells: list[str]) -> None:
    if sys.version_info[:2] in {(3, 12), (3, 13)}:  # their own limit, whatever the stack
        with pytest.raises(CannotTravel, match="deeper than this Python can pickle") as refused:
            same_as_local(far, *cells)
        assert "flat" in refused.value.advice
    else:
        same_as_local(far, *cells)
