"""Global names of functions, from their bytecode."""

from __future__ import annotations

import dis
from types import CodeType

import pytest

from cellferry.capture.globals_of import code_globals, code_imports, code_stores


def body_of(text: str) -> CodeType:
    """The code of the one function that ``text`` defines."""
    return next(c for c in compile(text, "<test>", "exec").co_consts if isinstance(c, CodeType))


@pytest.mark.parametrize(
    ("text", "names", "stores"),
    [
        ("def f(a): return a", "", ""),
        ("def f(a): return a + b", "b", ""),
        ("def f(): return b()", "b", ""),
        ("def f(): return b.c(d)", "b d", ""),
        ("def f():\n    global a\n    a = 1", "a", "a"),
        ("def f():\n    global a\n    del a", "a", "a"),
        ("def f():\n    global a\n    import a", "a", "a"),
        ("def f():\n    def g():\n        global a\n        a = b\n    return g", "a b", "a"),
        ("def f(): return [i + a for i in b]", "a b", ""),
        ("def f(): return (a for _ in b)", "a b", ""),
        ("def f(): return lambda: lambda: a", "a", ""),
        ("def f(x):\n    def g(): return x + a\n    return g", "a", ""),
        ("def f():\n    class A(B):\n        x = y\n        def m(self): return z\n    return A", "B y z __name__", ""),
        ("async def f():\n    async for i in a:\n        await b(i)", "a b", ""),
        ("def f(a=1): return print", "print", ""),
    ],
)
def test_names(text: str, names: str, stores: str) -> None:
    code = body_of(text)
    assert code_globals(code) == set(names.split())
    assert code_stores(code) == set(stores.split())


def test_more_names_than_fit_a_byte() -> None:
    many = [f"name_{n}" for n in range(700)]
    assert code_globals(body_of("def f(): return [" + ", ".join(many) + "]")) == set(many)
    stores = body_of("def f():\n    global " + ", ".join(many) + "\n    " + " = ".join(many) + " = 1")
    assert code_stores(stores) == set(many)


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ("def f(): import a", "a"),
        ("def f(): import a.b.c", "a.b.c"),
        ("def f(): from a.b import c, d as e", "a.b a.b.c a.b.d"),
        ("def f():\n    def g(): import a", "a"),
        ("def f():\n    from . import a\n    from ..b import c\n    import d", "d"),
        ("def f(): return 5", ""),
    ],
)
def test_imports(text: str, imports: str) -> None:
    assert code_imports(body_of(text)) == set(imports.split())


def test_functions_of_the_library_agree_with_dis() -> None:
    def walk(code: CodeType) -> set[str]:
        own = {i.argval for i in dis.get_instructions(code) if i.opname.endswith("_GLOBAL")}
        return own.union(*(walk(c) for c in code.co_consts if isinstance(c, CodeType)))

    for module in (dis, pytest):
        for value in vars(module).values():
            code = getattr(value, "__code__", None)
            if code is not None:
                assert walk(code) <= code_globals(code)
