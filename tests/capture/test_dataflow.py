"""What a cell reads and binds, construct by construct."""

from __future__ import annotations

import sys

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from cellferry.capture.dataflow import Flow, analyse
from cellferry.errors import CellSyntaxError

EXPAND = TransformerManager().transform_cell


def names(text: str) -> set[str]:
    return set(text.split())


# (cell, reads, required, binds); `print` and other builtins are left out of the sets.
CELLS = {
    "assignment": ("y = x + 1\nz = y", "x", "x", "y z"),
    "several targets": ("a, (b, *c) = x\nd = e = b", "x", "x", "a b c d e"),
    "attribute and item targets": ("a.b = x\nc[i] = 1", "a x c i", "a x c i", ""),
    "augmented": ("a += b\nc.d += 1", "a b c", "a b c", "a"),
    "annotated": ("a: int = b", "b", "b", "a"),
    "annotation alone binds nothing": ("a: T\nb = a", "T a", "a", "b"),
    "string annotation": ("a: 'T[U]' = 1", "T U", "", "a"),
    "Literal holds no names": ("a: Literal['T'] = 1", "Literal", "", "a"),
    "future annotations": ("from __future__ import annotations\ndef f(a: T) -> R: pass", "T R", "", "annotations f"),
    "local annotation is never evaluated": ("def f():\n    a: T = 1\n    return a", "", "", "f"),
    "rebinding uses the old value once": ("a = a + 1\nb = a", "a", "a", "a b"),
    "walrus": ("print(y := x, y)", "x", "x", "y"),
    "walrus in comprehension binds outside": ("[y := i for i in x]\ny", "x y", "x", "y"),
    "walrus may be skipped": ("a and (b := 1)\nb", "a b", "a", "b"),
    "comprehension": ("[i + a for i in x if b for j in c]", "a x b c", "x", ""),
    "comprehension target hides nothing outside": ("[i for i in x]\ni", "x i", "x i", ""),
    "nested comprehension": ("{k: [v + k for v in w] for k, w in x.items()}", "x", "x", ""),
    "generator": ("sum(i * a for i in x)", "a x", "x", ""),
    "del needs the name": ("del a\nb = 1", "a", "a", "b"),
    "del of own name": ("a = 1\ndel a", "", "", "a"),
    "del of item": ("del a[i]", "a i", "a i", ""),
    "f-string": ("f'{a!r:>{b}} {c=}'", "a b c", "a b c", ""),
    "lambda": ("f = lambda a, b=c: a + b + d", "c d", "c", "f"),
    "lambda as argument": ("sorted(x, key=lambda i: w[i])", "x w", "x", ""),
    "and or": ("a and b or c", "a b c", "a", ""),
    "ternary": ("a if b else c", "a b c", "b", ""),
    "chained comparison may stop": ("a < b < c", "a b c", "a b", ""),
    "if": ("if a:\n    b = c\nelse:\n    d = e\nb, d", "a b c d e", "a", "b d"),
    "if binds on both paths": ("if a:\n    b = 1\nelse:\n    b = 2\nb", "a", "a", "b"),
    "if that raises": ("if a:\n    b = 1\nelse:\n    raise c\nb", "a c", "a", "b"),
    "for": ("for i in x:\n    y = i\nprint(i, y)", "x i y", "x", "i y"),
    "for over range surely runs": ("for i in range(3):\n    y = i\nprint(i, y)", "", "", "i y"),
    "for over range with early break": ("for i in range(3):\n    if i: break\n    y = i\nprint(i, y)", "y", "", "i y"),
    "for else": ("for i in x:\n    pass\nelse:\n    y = 1\ny", "x", "x", "i y"),
    "for else with break": ("for i in x:\n    if i: break\nelse:\n    y = 1\ny", "x y", "x", "i y"),
    "loop reads what its last round made": ("for i in x:\n    a = a + i", "x a", "x", "i a"),
    "while": ("while a:\n    b = 1\nb", "a b", "a", "b"),
    "while true ends by break": ("while True:\n    b = f()\n    if b: break\nb", "f", "", "b"),
    "try": ("try:\n    a = f()\nexcept E as e:\n    a = e\na", "f E", "", "a"),
    "try without binding in the handler": ("try:\n    a = f()\nexcept E:\n    pass\na", "f E a", "", "a"),
    "handler name is gone afterwards": ("try:\n    pass\nexcept E as e:\n    pass\ne", "E e", "", ""),
    "handler name may hide a notebook's": ("e = 1\ntry:\n    f()\nexcept E as e:\n    pass", "f E", "", "e"),
    "try else": ("try:\n    a = 1\nexcept E:\n    raise\nelse:\n    b = a\nb", "E", "", "a b"),
    "finally": ("try:\n    a = f()\nfinally:\n    b = a\nb, a", "f a", "f", "a b"),
    "try import": ("try:\n    import m\nexcept ImportError:\n    m = None\nm", "", "", "m"),
    "with": ("with open(p) as f:\n    d = f.read()\nd", "p", "p", "f d"),
    "with that swallows": ("with suppress(E):\n    d = g()\nd", "suppress E g d", "suppress E", "d"),
    "with over an exception may swallow it": ("with tag(c):\n    raise E\nlog", "tag c E log", "tag c E", ""),
    "with over a name may swallow": ("with out:\n    g()", "out g", "out", ""),
    "match": ("match a:\n    case C(x=b, y=[c, *d]):\n        e = b\n    case {'k': K.v, **r}:\n        pass\n"
              "    case _ if g:\n        pass\ne", "a C K g e", "a", "b c d e r"),
    "match that takes anything": ("match a:\n    case 1:\n        b = 1\n    case other:\n        b = other\nb", "a",
                                  "a", "b other"),
    "function": ("def f(a, b=c, *d, e: T = g, **h) -> R:\n    return a + i", "c T g R i", "c g", "f"),
    "function locals": ("def f():\n    a = b\n    return a", "b", "", "f"),
    "every way to bind a local": (
        "def f(x):\n    match x:\n        case [a, *b] | {'k': a, **b} | C(y=[a] as b):\n            pass\n"
        "    with x as (c, [d]):\n        import e.g, h as i\n    try:\n        [(j := k) for k in x if (l := k)]\n"
        "    except x as m:\n        del n\n    for o, p.q in x:\n        class r(x, s=(t := 1)): pass\n"
        "    print(lambda u=(v := 1): w)\n    def y(z=(aa := 1)): return ab\n    print(f'{(ac := 1)}', x[(ad := 1):])\n"
        "    return a, b, c, d, e, i, j, l, m, n, o, r, t, v, y, aa, ac, ad, p, g, h, k, u",
        "C p w ab g h k u", "", "f"),
    "local before assignment stays local": ("def f():\n    print(a)\n    a = 1", "", "", "f"),
    "global statement": ("def f():\n    global a\n    a = b\nf()\na", "a b", "", "a f"),
    "nonlocal": ("def f():\n    a = 1\n    def g():\n        nonlocal a\n        a += b\n    return g", "b", "", "f"),
    "free variable": ("def f(a):\n    return lambda: a + b", "b", "", "f"),
    "recursion": ("def f(n):\n    return f(n - 1)", "", "", "f"),
    "mutual recursion, defined later": ("def f():\n    return g()\ndef g():\n    return f()\nf()", "", "", "f g"),
    "called before the other is defined": ("def f():\n    return g()\nf()\ndef g():\n    pass", "g", "", "f g"),
    "called in one branch before": ("def f(): return g\nif a:\n    g = 1\n    f()\nelse:\n    f()", "a g", "a", "f g"),
    "handed on before": ("def f(): return g\nh(f)\ng = 1", "g h", "h", "f g"),
    "decorator": ("@d(x)\ndef f():\n    return a", "d x a", "d x", "f"),
    "decorator may call at once": ("@d\ndef f(): return g\ng = 1", "d g", "d", "f g"),
    "patient decorator": ("@functools.lru_cache()\ndef f(): return g\ng = 1", "functools", "functools", "f g"),
    "class": ("class A(B, metaclass=M):\n    x = a\n    y = x\n    def m(self):\n        return x, b, A", "B M a x b",
              "B M a", "A"),
    "class body falls back to the module": ("class A:\n    x = x", "x", "", "A"),
    "class variable in a comprehension": ("class A:\n    x = 1\n    y = [x for _ in x]", "x", "", "A"),
    "class private names": ("class A:\n    def m(self):\n        return __x", "_A__x", "", "A"),
    "__class__ in a method": ("class A:\n    def m(self):\n        return __class__, super()", "", "", "A"),
    "method reads after its class": ("class A:\n    def m(self): return g\ng = 1\nA().m()", "", "", "A g"),
    "nested class in function": ("def f():\n    a = 1\n    class A:\n        b = a\n        def m(self): return a, c",
                                 "c", "", "f"),
    "class del": ("class A:\n    x = 1\n    del x\n    y = x", "x", "", "A"),
    "class global": ("class A:\n    global x\n    x = 1\nx", "", "", "A x"),
    "imports": ("import a.b, c.d as e\nfrom f import g, h as i", "", "", "a e g i"),
    "await": ("x = await f(y)", "f y", "f y", "x"),
    "async for and with": ("async with a as b:\n    async for i in c:\n        d = i", "a c", "a", "b d i"),
    "async comprehension": ("[i async for i in a]", "a", "a", ""),
    "after raise": ("raise a\nb", "a", "a", ""),
    "assert message": ("assert a, b", "a b", "a", ""),
    "starred and slices": ("f(*a, **b)[c:d]", "f a b c d", "f a b c d", ""),
    "nothing after eval is required": ("eval(s)\na", "s a", "s", ""),
    "eval of a literal": ("eval('a + b')", "a b", "", ""),
    "exec of a literal": ("exec('a = b')", "b", "", "a"),
    "from __main__": ("from __main__ import a as b", "a", "a", "b"),
}
_PLAIN = {"int", "list", "print", "open", "range", "sum", "sorted", "eval", "exec", "super", "ImportError"}


@pytest.mark.parametrize("case", CELLS)
def test_names(case: str) -> None:
    source, reads, required, binds = CELLS[case]
    flow = analyse(source)
    assert flow.reads - _PLAIN == names(reads)
    assert flow.required - _PLAIN == names(required)
    assert flow.binds == names(binds)
    assert flow.required <= flow.reads


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are new in 3.12")
@pytest.mark.parametrize(
    ("source", "reads", "binds"),
    [
        ("def f[T: B](a: T) -> list[T]:\n    return cast(T, x)", "B list cast x", "f"),
        ("class A[T](Base[T]):\n    x: T\n    def m(self) -> T: return y", "Base y", "A"),
        ("type X[T] = dict[T, Y]", "dict Y", "X"),
        ("class A:\n    type X = Y\n    def m[T](self, a: X): return T", "Y", "A"),
        ("def f[T = D](): pass" if sys.version_info >= (3, 13) else "D\ndef f(): pass", "D", "f"),
        ("f'{a + f'{b}'}'", "a b", ""),
    ],
)
def test_type_parameters(source: str, reads: str, binds: str) -> None:
    flow = analyse(source)
    assert (flow.reads, flow.binds) == (names(reads), names(binds))


@pytest.mark.parametrize(
    ("since", "source", "reads", "binds"),
    [
        ((3, 14), "t'{a + t\"{b!r:>{c}}\"} text'", "a b c", ""),
        ((3, 14), "try: a\nexcept B, C: d = 1", "a B C", "d"),
        ((3, 15), "[*x for x in y]\n{*x for x in y}\n{**d for d in e if f}", "y e f", ""),
        ((3, 15), "lazy import a.b\nlazy from c import d as e\nf", "f", "a e"),
    ],
)
def test_newer_syntax(since: tuple[int, int], source: str, reads: str, binds: str) -> None:
    if sys.version_info < since:
        pytest.skip(f"needs Python {since[0]}.{since[1]}")
    flow = analyse(source)
    assert (flow.reads, flow.binds) == (names(reads), names(binds))


def test_builtins_are_read_like_other_names() -> None:
    assert "print" in analyse("print(1)").required


@pytest.mark.parametrize(
    ("source", "deletes", "binds"),
    [
        ("del a, b", "a b", ""),
        ("a = 1\ndel a", "a", "a"),
        ("try: pass\nexcept E as e: e = 1", "e", "e"),
        ("def f():\n    global a\n    del a", "a", "f"),
        ("def f():\n    a = 1\n    del a", "", "f"),
    ],
)
def test_deletes(source: str, deletes: str, binds: str) -> None:
    flow = analyse(source)
    assert (flow.deletes, flow.binds) == (names(deletes), names(binds))


def test_imports() -> None:
    flow = analyse("import a.b\nfrom c import d\nfrom e.f import *\ndef g():\n    import h\n"
                   "importlib.import_module('i.j')\n__import__('k')")
    assert flow.imports == names("a.b c c.d e.f h i.j k")
    assert flow.star_imports == {"e.f"}


def test_nothing_after_a_star_import_is_required() -> None:
    flow = analyse("a\nfrom math import *\nb")
    assert (flow.required, flow.reads) == ({"a"}, {"a", "b"})


@pytest.mark.parametrize(
    ("source", "dynamic"),
    [
        ("eval(x)", True), ("exec(x)", True), ("globals()['a']", True), ("locals()", True), ("vars()", True),
        ("dir()", True), ("f(globals)", True), ("get_ipython().user_ns['a']", True), ("get_ipython().ex('a')", True),
        ("eval('a')", False), ("eval(x, {})", False), ("vars(x)", False), ("dir(x)", False), ("x.eval('a')", False),
        ("def f():\n    return locals()", False), ("def f():\n    return globals()", True),
        ("def vars(): pass\nvars()", False), ("x = 1", False),
    ],
)
def test_dynamic(source: str, dynamic: bool) -> None:
    assert analyse(source).calls_dynamic is dynamic


@pytest.mark.parametrize(
    ("source", "awaits"),
    [("await f()", True), ("async for i in x: pass", True), ("[i async for i in x]", True),
     ("async def f():\n    await g()", False), ("x = 1", False)],
)
def test_awaits(source: str, awaits: bool) -> None:
    assert analyse(source).awaits is awaits


def test_strings_may_name_files() -> None:
    flow = analyse("open('a.csv')\nf'{x}.csv'\nd = {'b.csv': 'a.csv'}\ndef f():\n    'docstring'\n    g('c.csv')")
    assert flow.strings == ("a.csv", "b.csv", "c.csv")


@pytest.mark.parametrize(
    ("source", "hints"),
    [("df.query('a > @limit')", "a limit"), ("duckdb.sql('select * from df')", "select from df"),
     ("df.query(f'a > {x} and @b')", "a and b"), ("print('a')", ""),
     ("with tag():\n    x = f()\nx", "x"), ("with tag():\n    x = f()\nx = 1\nx", ""), ("with tag():\n    x = f()\n    x", "")],
)
def test_hints(source: str, hints: str) -> None:
    assert analyse(source).hints >= names(hints)
    assert bool(analyse(source).hints) is bool(hints)


# ---- IPython --------------------------------------------------------------------------------------------------------

MAGICS = {
    # cell as typed: reads, required, binds
    "%time y = x": ("x", "x", "y"),
    "y = %time x": ("x", "x", "y"),
    "%%time\ny = x\nz = y": ("x", "x", "y z"),
    "%%time\n%%capture out\ny = x": ("x", "x", "y out"),
    "%timeit -n 3 -r2 y = x": ("x", "x", ""),
    "r = %timeit -o f(x)": ("f x", "f x", "r"),
    "%%timeit a = x\na + b": ("x b", "x b", ""),
    "%prun -s cumulative f(x)": ("f x", "f x", ""),
    "%%prun -q\ny = x": ("x", "x", "y"),
    "%%capture out --no-stderr\ny = x": ("x", "x", "y out"),
    "!ls {a + b} $c $d.e $$f '{'": ("", "", ""),
    "!ls {a + b} $c $d.e $$f": ("a b c d", "", ""),
    "x = !cat {a['b']}": ("a", "", "x"),
    "!awk '{print $1}' f": ("", "", ""),
    "a?": ("a", "", ""),
    "a.b??": ("a", "", ""),
    "%cd {path}": ("path", "", ""),
    "%matplotlib inline\nx": ("x", "x", ""),
    "%load_ext something\nx": ("x", "", ""),
    "%xdel x": ("x", "", ""),
    "%%bash --out o --err e\nx": ("", "", "o e"),
    "%%writefile {name}.py\nx = y": ("name", "", ""),
    "%%unheard_of $a\ny = x": ("a x", "", "y"),
    "%%html\n<b>": ("", "", ""),
    "for i in x:\n    !ls $i $a\n    %time y = f(i)": ("x i a f", "x", "i y"),
    "def f(a):\n    !ls $a $b": ("b", "", "f"),
    "%%remote gpu=a100\ny = x": ("", "", ""),
}


@pytest.mark.parametrize("cell", MAGICS)
def test_magics(cell: str) -> None:
    reads, required, binds = MAGICS[cell]
    flow = analyse(EXPAND(cell), EXPAND)
    assert flow.reads - {"get_ipython"} == names(reads) - ({"i"} if "$i" in cell else set())
    assert flow.required - {"get_ipython"} == names(required)
    assert flow.binds == names(binds)


def test_deleting_magic() -> None:
    assert analyse(EXPAND("%xdel x"), EXPAND).deletes == {"x"}


@pytest.mark.parametrize("cell", ["%run script.py", "%who", "%reset -f", "%pylab"])
def test_magics_that_see_everything(cell: str) -> None:
    assert analyse(EXPAND(cell), EXPAND).calls_dynamic


def test_words_of_commands_may_name_files_and_variables() -> None:
    flow = analyse(EXPAND("!wc -l 'my data.csv'\n%some_magic df"), EXPAND)
    assert "my data.csv" in flow.strings
    assert "df" in flow.hints and "df" not in flow.reads


def test_without_expand_a_magic_body_is_read_as_python() -> None:
    assert analyse("get_ipython().run_cell_magic('time', '', 'y = x')").binds == {"y"}


# ---- what is wrong with a cell --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("x = 1\ny = = 2", 2, "Line 2: invalid syntax: `y = = 2`"),
        ("return 1", 1, "'return' outside function"),
        ("nonlocal x", 1, "nonlocal"),
        ("def f(a, a): pass", 1, "duplicate"),
        ("x = 'abc", 1, "unterminated string"),
        ("for i in x:\nprint(i)", 2, "expected an indented block"),
        ("x\0", 1, "null bytes"),
        ("x = '\ud800'", 1, "surrogates"),
    ],
)
def test_syntax_errors(source: str, line: int, says: str) -> None:
    with pytest.raises(CellSyntaxError) as caught:
        analyse(source)
    assert says in str(caught.value)
    cause = caught.value.__cause__
    assert isinstance(cause, SyntaxError) and cause.lineno == line


def test_a_syntax_error_under_a_magic_has_the_cells_line() -> None:
    cell = "%%time\nx = 1\ny = = 2"
    with pytest.raises(CellSyntaxError) as caught:
        analyse(EXPAND(cell), EXPAND)
    assert isinstance(caught.value.__cause__, SyntaxError) and caught.value.__cause__.lineno == 3


def test_compiler_warnings_are_left_to_the_run(recwarn: pytest.WarningsRecorder) -> None:
    analyse("x is 'literal'\n'\\d'")
    assert not recwarn.list


@pytest.mark.parametrize(
    "source",
    ["+".join(["a"] * 900), "f" + "(x)" * 60, "\n".join(["if a:\n    b = 1"] + ["elif a:\n    b = 2"] * 500)],
    ids=["sum", "calls", "elif"],
)
def test_long_cells(source: str) -> None:
    assert analyse(source).reads & {"a", "x"}


def test_deeper_than_the_stack_is_still_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("cellferry.capture.statements.Statements.run", overflow)
    source = "import m\ny = [x for x in z]  # deep"
    assert analyse(source) == Flow(
        reads=frozenset("xz"), binds=frozenset("mxy"), deletes=frozenset("mxy"), imports=frozenset("m"),
        calls_dynamic=True)
