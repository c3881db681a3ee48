"""Classes of the notebook, and what is made of them."""

from __future__ import annotations

import pytest

from .notebook import FarProcess, same_as_local

CASES: dict[str, list[str]] = {
    "attributes": [
        """
        class C:
            def __init__(s):
                s.x = [1]
        c = C()
        l = [c]
        x = c.x
        """,
        """
        %%remote
        c.y = 1
        c.x.append(c)
        del c.y
        c.z = c
        """,
    ],
    "slots": [
        """
        class C:
            __slots__ = ("a", "b")
        class D(C):
            __slots__ = ("c", "__dict__")
        d = D()
        d.a = [1]
        l = [d]
        """,
        """
        %%remote
        d.b = d.a
        del d.a
        d.q = 3
        """,
    ],
    "named tuples": [
        """
        import collections
        P = collections.namedtuple("P", "x y")
        p = P([1], 2)
        q = p
        """,
        """
        %%remote
        p.x.append(3)
        r = p
        """,
    ],
    "cached properties": [
        """
        import functools
        class C:
            @functools.cached_property
            def p(self):
                return [1]
        c = C()
        """,
        """
        %%remote
        q = c.p
        """,
        """
        r = c.p is q
        """,
    ],
    "dataclasses": [
        """
        import dataclasses as D
        @D.dataclass(frozen=True)
        class P:
            x: int = 0
            y: list = D.field(default_factory=list)
        @D.dataclass(slots=True)
        class S:
            a: int = 1
            b: list = None
        p = P(1)
        s = S(2, [p])
        h = [p, s]
        """,
        """
        %%remote
        p.y.append(1)
        s.a = 5
        f = [x.name for x in D.fields(p)]
        q = D.replace(p, x=9)
        @D.dataclass
        class Q(P.__mro__[-1]):
            k: int = 1
        """,
        """
        r = [x.name for x in D.fields(P)], D.asdict(p)
        """,
    ],
    "enums": [
        """
        import enum
        class C(enum.Enum):
            A = 1
            B = [2]
        class F(enum.Flag):
            X = 1
            Y = 2
        c = C.A
        f = F.X | F.Y
        h = {C.B: 1}
        """,
        """
        %%remote
        d = C.B
        o = c is C.A, f == F.X | F.Y
        """,
        """
        p = d is C.B, c is C.A, C(1) is c
        """,
    ],
    "metaclasses and abstract classes": [
        """
        class M(type):
            def __call__(cls, *a):
                o = super().__call__(*a)
                o.tag = cls.__name__
                return o
        class K(metaclass=M):
            n = 0
        k = K()
        import abc
        class A(abc.ABC):
            @abc.abstractmethod
            def f(self): ...
        class B(A):
            def f(self):
                return 1
        b = B()
        """,
        """
        %%remote
        K.n += 1
        k2 = K()
        K.m = [1]
        B.g = lambda s: 3
        r = isinstance(b, A)
        """,
        """
        q = b.g(), K.n, type(k2) is K
        """,
    ],
    "properties and descriptors": [
        """
        class C:
            @property
            def p(self):
                return self._p
            @p.setter
            def p(self, v):
                self._p = v
            @classmethod
            def c(cls):
                return cls
            @staticmethod
            def s():
                return 1
        class De:
            def __get__(s, o, t):
                return 7
        c = C()
        c.p = 1
        """,
        """
        %%remote
        c.p = 2
        r = C.c() is C, C.s()
        C.d = De()
        """,
        """
        q = c.p, c.d
        """,
    ],
    "classes defined again": [
        """
        class C:
            def f(s):
                return 1
        c = C()
        """,
        """
        %%remote
        a = c.f()
        """,
        """
        class C:
            def f(s):
                return 2
        d = C()
        """,
        """
        %%remote
        b = c.f(), d.f(), type(c) is C
        """,
        """
        %%remote
        class C:
            def f(s):
                return 3
        c.__class__ = C
        """,
        """
        e = c.f(), type(c) is C, type(d) is C
        """,
    ],
    "classes that pickle in their own way": [
        """
        class C:
            def __init__(s):
                s.a = [1]
                s.b = 2
            def __getstate__(s):
                return {"a": s.a, "b": s.b}
            def __setstate__(s, st):
                s.__dict__.update(st)
                s.set = True
        class R:
            def __init__(s, x):
                s.x = x
            def __reduce__(s):
                return R, (s.x,)
        c = C()
        c.set = True
        r = R([1])
        h = [c, r]
        a = c.a
        """,
        """
        %%remote
        c.a.append(2)
        c.b = 3
        r.x.append(5)
        r.x = [r.x]
        """,
    ],
    "methods replaced": [
        """
        class C:
            def f(s):
                return 1
        c = C()
        """,
        """
        %%remote
        C.f = lambda s: 2
        c.g = lambda: 5
        import types
        c.h = types.MethodType(lambda s: s, c)
        """,
        """
        q = c.f(), c.g(), c.h() is c
        """,
    ],
    "generics, protocols, new types": [
        """
        import typing
        T = typing.TypeVar("T")
        U = typing.NewType("U", int)
        PS = typing.ParamSpec("PS")
        class B(typing.Generic[T]):
            def __init__(s, x: T):
                s.x = x
        class Pr(typing.Protocol):
            def f(self) -> int: ...
        b = B[int](3)
        al = list[B]
        op = typing.Optional[B]
        """,
        """
        %%remote
        b.x = 4
        i = isinstance(b, B)
        c = U(3)
        bb = B[str]("q")
        """,
    ],
    "several bases": [
        """
        class A:
            def f(s):
                return "a"
        class B(A):
            def f(s):
                return "b" + super().f()
        class Cc(B, dict):
            pass
        c = Cc()
        c["x"] = 1
        c.y = 2
        """,
        """
        %%remote
        r = c.f()
        c["z"] = c
        A.q = 5
        """,
        """
        w = c.f(), c.q
        """,
    ],
    "typed tuples and dicts": [
        """
        import typing
        class P(typing.NamedTuple):
            x: int
            y: list = []
        class TD(typing.TypedDict):
            a: int
        p = P(1, [2])
        t = TD(a=1)
        def f(x: P) -> TD:
            return TD(a=x.x)
        """,
        """
        %%remote
        q = f(p)
        p.y.append(3)
        t["a"] = 5
        r = p._replace(x=4)
        """,
    ],
    "instances with one dict": [
        """
        class Borg:
            shared = {}
            def __init__(self):
                self.__dict__ = self.shared
        a = Borg()
        b = Borg()
        a.x = 1
        """,
        """
        %%remote
        a.y = 2
        b.z = [a]
        """,
        """
        ok = a.__dict__ is b.__dict__ is Borg.shared
        """,
    ],
    "instances that are called": [
        """
        class Memo:
            def __init__(self, f):
                self.f, self.cache = f, {}
            def __call__(self, x):
                if x not in self.cache:
                    self.cache[x] = self.f(x)
                return self.cache[x]
        @Memo
        def square(x):
            return x * x
        table = square.cache
        """,
        """
        %%remote
        r = [square(i) for i in range(3)]
        """,
        """
        n = len(table)
        """,
    ],
    "classes that are counted": [
        """
        class Base:
            registry = {}
            def __init_subclass__(cls, loud=False, **k):
                super().__init_subclass__(**k)
                Base.registry[cls.__name__] = loud
        class Meta(type):
            made = []
            def __new__(m, name, bases, body):
                k = super().__new__(m, name, bases, body)
                m.made.append(name)
                return k
        class A(Base, loud=True):
            pass
        class B(metaclass=Meta):
            pass
        import abc
        class M2(abc.ABCMeta):
            def __init__(cls, *a):
                super().__init__(*a)
                cls.count = getattr(cls, "count", 0) + 1
        class D(metaclass=M2):
            pass
        """,
        """
        %%remote
        class C(A, loud=True):
            pass
        class E(B):
            pass
        class F(D):
            pass
        r = dict(Base.registry), list(Meta.made), F.count
        """,
        """
        q = Base.registry, Meta.made, C.__mro__[1] is A, F.count
        """,
        """
        %%remote
        class G(C):
            pass
        class H(E):
            pass
        s = list(Base.registry), list(Meta.made)
        """,
    ],
    "classes in functions": [
        """
        def outer(a):
            b = [a]
            class Inner:
                def get(self):
                    return b, a, __class__
            def change(v):
                nonlocal a
                a = v
                b.append(v)
            return Inner, change
        Inner, change = outer(1)
        i = Inner()
        """,
        """
        %%remote
        change(2)
        g = i.get()[0]
        """,
        """
        h = i.get()[:2], i.get()[2] is Inner, g is i.get()[0]
        """,
    ],
    "exceptions": [
        """
        e = ValueError("x", [1])
        e.add_note("n")
        e.__cause__ = KeyError("c")
        e.z = [1]
        h = [e]
        class E(Exception):
            def __init__(s, a, b):
                super().__init__("m")
                s.a = a
                s.b = b
        x = E(1, 2)
        """,
        """
        %%remote
        e.z.append(2)
        e.args = (1,)
        x.a = 5
        e.q = 1
        """,
    ],
}


@pytest.mark.parametrize("cells", CASES.values(), ids=CASES)
def test_classes_are_as_if_all_had_run_here(far: FarProcess, cells: list[str]) -> None:
    same_as_local(far, *cells)
