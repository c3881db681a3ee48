"""Functions: defaults, closures, decorators, methods, generators, caches."""

from __future__ import annotations

import pytest

from .notebook import FarProcess, same_as_local
from .two_heaps import TwoHeaps

CASES: dict[str, list[str]] = {
    "two functions that share a variable": [
        """
        def mk():
            n = 0
            def inc():
                nonlocal n
                n += 1
                return n
            def get():
                return n
            return inc, get
        inc, get = mk()
        """,
        """
        %%remote
        inc()
        inc()
        """,
        """
        v = get()
        """,
        """
        %%remote
        inc()
        """,
        """
        w = get()
        """,
    ],
    "a closure that contains itself": [
        """
        def mk():
            def f(n):
                return 1 if n == 0 else n * f(n - 1)
            return f
        f = mk()
        """,
        """
        %%remote
        r = f(5)
        f.attr = [1]
        """,
    ],
    "decorated functions": [
        """
        import functools
        def deco(f):
            @functools.wraps(f)
            def w(*a, **k):
                w.calls += 1
                return f(*a, **k)
            w.calls = 0
            return w
        @deco
        def g(x, *, y=[1]):
            return x
        """,
        """
        %%remote
        g(1)
        g(2)
        g.__wrapped__.__kwdefaults__["y"].append(2)
        """,
    ],
    "partial": [
        """
        import functools
        l = [1]
        def f(a, b):
            return a
        p = functools.partial(f, l)
        h = [p]
        """,
        """
        %%remote
        p.x = 1
        p.args[0].append(2)
        q = p(3) is l
        """,
    ],
    "mutable defaults": [
        """
        import functools
        def f(x):
            return x
        g = functools.partial(f, 3)
        k = functools.partialmethod(f, 3)
        def default(x, acc=[]):
            acc.append(x)
            return acc
        """,
        """
        %%remote
        a = default(1)
        """,
        """
        %%remote
        b = default(2)
        """,
        """
        c = default(3)
        same = a is b is c
        """,
    ],
    "lru_cache": [
        """
        import functools
        @functools.lru_cache
        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)
        h = [fib]
        """,
        """
        %%remote
        x = fib(30)
        """,
    ],
    "singledispatch": [
        """
        import functools
        @functools.singledispatch
        def f(x):
            return "o"
        @f.register
        def _(x: int):
            return "i"
        """,
        """
        %%remote
        @f.register(str)
        def _s(x):
            return "s"
        r = f(1), f("a"), f([])
        """,
        """
        q = f(1), f("a"), f([])
        """,
    ],
    "coroutine and generator functions": [
        """
        async def co(x):
            return x
        def gen(n):
            yield from range(n)
        async def ag():
            yield 1
        l = [co, gen, ag, lambda x: x + 1]
        """,
        """
        %%remote
        import asyncio
        r = list(gen(3)), l[3](1), asyncio.new_event_loop().run_until_complete(co(5))
        """,
    ],
    "annotations": [
        """
        from __future__ import annotations
        class Z:
            pass
        def f(a: Z, b: "int" = 3) -> list[Z]:
            return a
        """,
        """
        %%remote
        r = f(1)
        t = f.__annotations__
        """,
        """
        q = t == f.__annotations__
        """,
    ],
    "a context manager made of a generator": [
        """
        import contextlib
        @contextlib.contextmanager
        def cm():
            yield 5
        """,
        """
        %%remote
        with cm() as x:
            pass
        """,
        """
        with cm() as y:
            pass
        """,
    ],
    "bound methods": [
        """
        import random
        l = [1]
        ap = l.append
        r = random.Random(3)
        rr = r.random
        j = ", ".join
        """,
        """
        %%remote
        ap(2)
        x = rr()
        l2 = l
        """,
        """
        y = r.random(), ap.__self__ is l
        """,
    ],
    "methods dispatched on types": [
        """
        import functools, operator
        class C:
            @functools.singledispatchmethod
            def f(s, x):
                return "o"
            @f.register
            def _(s, x: int):
                return "i"
            @functools.total_ordering
            class O:
                def __init__(s, x):
                    s.x = x
                def __eq__(s, o):
                    return s.x == o.x
                def __lt__(s, o):
                    return s.x < o.x
        c = C()
        ig = operator.itemgetter(1)
        ag = operator.attrgetter("x")
        """,
        """
        %%remote
        r = c.f(1), c.f("x"), C.O(1) > C.O(0), ig([1, 2])
        """,
    ],
}


@pytest.mark.parametrize("cells", CASES.values(), ids=CASES)
def test_functions_are_as_if_all_had_run_here(far: FarProcess, cells: list[str]) -> None:
    same_as_local(far, *cells)


def test_code_keeps_the_place_it_was_written_at() -> None:
    """Tracebacks and ``inspect`` find a function's cell by it, in functions inside of functions too."""
    ends = TwoHeaps()
    source = "\n\ndef outer():\n    def inner():\n        return 1 / 0\n    return inner\n"
    exec(compile(source, "/tmp/ipykernel_1/123.py", "exec"), ends.here)
    ends.send("outer")
    for code in (ends.there["outer"].__code__, ends.there["outer"]().__code__):
        here = ends.here["outer"].__code__ if code.co_name == "outer" else ends.here["outer"]().__code__
        assert (code.co_filename, code.co_firstlineno) == ("/tmp/ipykernel_1/123.py", here.co_firstlineno)
        assert code == here and code is not here
        assert list(code.co_positions()) == list(here.co_positions())
