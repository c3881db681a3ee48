"""Values of libraries."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from .notebook import SLOW_TO_LOAD, FarProcess, same_as_local

CASES: dict[str, list[str]] = {
    "frames": [
        """
        import pandas as pd, numpy as np
        df = pd.DataFrame({"a": [1, 2, 3], "s": ["x", "y", None], "c": pd.Categorical(["p", "q", "p"])})
        o = df
        s = df["a"]
        h = {"d": df}
        ix = df.index
        mi = pd.MultiIndex.from_product([[1, 2], ["a", "b"]])
        """,
        """
        %%remote
        df["b"] = df.a * 2
        df.loc[0, "a"] = 99
        df.attrs["k"] = 1
        """,
        """
        %%remote
        df.drop(columns="b", inplace=True)
        df.rename(columns={"a": "z"}, inplace=True)
        mi2 = mi
        """,
    ],
    "series, groups, indexes": [
        """
        import pandas as pd
        df = pd.DataFrame({"a": [1, 2, 3], "k": ["x", "y", "x"]})
        s = df["a"]
        o = s
        g = df.groupby("k")
        idx = pd.Index([3, 4], name="i")
        cat = pd.Categorical(["a", "b"])
        td = pd.to_datetime(["2020-01-01"])
        """,
        """
        %%remote
        s.iloc[0] = 50
        r = g["a"].sum().to_dict()
        idx2 = idx
        t = s.sum()
        """,
        """
        q = df["a"].tolist(), o.tolist(), idx2 is idx
        """,
    ],
    "arrow tables": [
        """
        import pyarrow as pa
        t = pa.table({"a": [1, 2], "s": ["x", None]})
        u = t
        h = [t]
        """,
        """
        %%remote
        v = t.append_column("z", [[1, 2]])
        same = t
        """,
    ],
    "images": [
        """
        from PIL import Image
        i = Image.new("RGB", (4, 4))
        h = [i]
        """,
        """
        %%remote
        i.putpixel((0, 0), (1, 2, 3))
        """,
        """
        q = h[0].getpixel((0, 0))
        """,
    ],
    "estimators": [
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        import numpy as np
        X = np.arange(20.0).reshape(10, 2)
        y = (np.arange(10) > 4).astype(int)
        m = make_pipeline(StandardScaler(), LogisticRegression())
        rf = RandomForestClassifier(5, random_state=0)
        h = [m, rf]
        st = m.steps[1][1]
        """,
        """
        %%remote
        m.fit(X, y)
        rf.fit(X, y)
        """,
        """
        q = m.predict(X).tolist(), h[0].score(X, y), rf.predict(X).tolist(), hasattr(st, "coef_")
        """,
        """
        %%remote
        r = rf.score(X, y)
        """,
    ],
    "random generators": [
        """
        import random, numpy as np
        r = random.Random(1)
        g = np.random.default_rng(2)
        rs = np.random.RandomState(3)
        h = [r, g, rs]
        """,
        """
        %%remote
        a = r.random(), g.random(), rs.rand()
        """,
        """
        b = r.random(), g.random(), rs.rand()
        """,
        """
        %%remote
        c = r.random(), g.random(), rs.rand()
        """,
    ],
    "iterators over iterators": [
        """
        shared, other, words = iter(range(10)), iter(range(1 << 70, (1 << 70) + 9)), enumerate("abcdefghijk")
        threes, pairs, mapped, deep = zip(shared, shared, shared), zip(words, words), map(str, other), zip(iter([1, 2, 3]))
        chained = zip(enumerate(deep), deep)
        held = {"it": [words], "zip": threes}
        next(threes), next(pairs), next(mapped)
        """,
        """
        %%remote
        a = next(shared), next(threes), next(shared), next(words), next(pairs), next(mapped), next(other), next(chained)
        """,
        """
        b = held["zip"] is threes, held["it"][0] is words, next(words), next(pairs), next(other), next(mapped), next(deep)
        c = list(shared), list(threes), list(words), list(pairs), list(chained)
        """,
    ],
    "what each process has one of": [
        """
        import random, numpy as np
        from random import randint, random as draw
        from numpy.random import randn
        held = [random._inst, np.random.mtrand._rand, np.random.mtrand._rand._bit_generator]
        """,
        """
        %%remote
        from random import gauss
        a = [randint.__self__ is random._inst, draw.__self__ is random._inst, randn.__self__ is np.random.mtrand._rand,
             held[0] is random._inst, held[1] is np.random.mtrand._rand, held[2] is np.random.mtrand._rand._bit_generator]
        """,
        """
        b = [gauss.__self__ is random._inst, held[0] is random._inst, held[1] is np.random.mtrand._rand]
        """,
    ],
    "files in memory": [
        """
        import io
        s = io.StringIO("abc")
        b = io.BytesIO(b"xyz")
        h = [s, b]
        """,
        """
        %%remote
        s.seek(0, 2)
        s.write("d")
        b.read(1)
        """,
        """
        v = s.getvalue(), s.tell(), b.tell()
        """,
    ],
    "weak references": [
        """
        import weakref
        class C:
            pass
        c = C()
        w = weakref.ref(c)
        wd = weakref.WeakValueDictionary(a=c)
        ws = weakref.WeakSet([c])
        """,
        """
        %%remote
        c.x = 1
        o = w() is c, wd["a"] is c, c in ws
        """,
        """
        z = w() is c, wd["a"] is c, c in ws
        """,
    ],
    "iterators half consumed": [
        """
        import itertools, sys
        l = [1, 2, 3, 4]
        it = iter(l)
        next(it)
        m = map(str, it)
        z = zip(l, it)
        c = itertools.count(3) if sys.version_info < (3, 14) else enumerate("abc")
        e = enumerate(l)
        r = iter(range(5))
        h = [it, m, z, c, e, r]
        """,
        """
        %%remote
        a = next(it), next(m), next(c), next(e), next(r)
        """,
        """
        b = next(it), next(c), next(e), next(r)
        """,
        """
        %%remote
        d = list(it), next(c), next(e)
        """,
    ],
    "two iterators on one": [
        """
        import itertools
        a, b = itertools.tee(iter([1, 2, 3]))
        x = next(a)
        """,
        """
        %%remote
        y = next(a), next(b)
        """,
        """
        z = next(b), next(a)
        """,
    ],
    "dates, decimals, paths, patterns": [
        """
        import datetime, decimal, pathlib, uuid, re, fractions
        v = [
            datetime.datetime(2020, 1, 1),
            decimal.Decimal("1.5"),
            pathlib.Path("/x"),
            uuid.UUID(int=3),
            re.compile("a+"),
            fractions.Fraction(1, 3),
            datetime.timezone.utc,
        ]
        h = list(v)
        x = v[1]
        """,
        """
        %%remote
        v.append(v[0])
        y = v[1]
        """,
    ],
}


def _case(name: str, cells: list[str]) -> Any:
    marks = SLOW_TO_LOAD if any("sklearn" in cell for cell in cells) else ()
    return pytest.param(cells, id=name, marks=marks)


@pytest.mark.parametrize("cells", [_case(name, cells) for name, cells in CASES.items()])
def test_libraries_are_as_if_all_had_run_here(far: FarProcess, cells: list[str]) -> None:
    if sys.version_info >= (3, 14) and any("itertools.tee" in cell for cell in cells):
        pytest.skip("since 3.14 no iterator of itertools pickles")
    same_as_local(far, *cells)


FORMULAS: dict[str, list[str]] = {
    "patsy": [
        """
        import patsy, numpy as np
        data = {"x": np.array([1.0, 2.0, 3.0, 5.0, 4.0]), "g": ["a", "a", "b", "b", "a"], "y": np.arange(5.0)}
        def twice(v): return 2 * v
        y, X = patsy.dmatrices("y ~ center(x) + twice(x) + C(g)", data)
        """,
        """
        %%remote
        a = X.design_info.column_names, patsy.build_design_matrices([X.design_info], {"x": np.array([9.0]), "g": ["b"]})[0].tolist()
        y2, X2 = patsy.dmatrices("y ~ bs(x, 3)", data)
        """,
        """
        b = X2.design_info.describe(), patsy.build_design_matrices([X2.design_info], {"x": [1.5]})[0].tolist()
        """,
    ],
    "statsmodels": [
        """
        import statsmodels.formula.api as smf, pandas as pd
        df = pd.DataFrame({"y": [0.2, 0.3, 0.4, 0.6, 0.9], "x": [1.0, 2, 3, 5, 4], "g": list("aabba")})
        def twice(v): return 2 * v
        fit = smf.ols("y ~ twice(x) + C(g)", df).fit()
        """,
        """
        %%remote
        a = fit.params.tolist(), fit.predict(pd.DataFrame({"x": [2.5], "g": ["b"]})).tolist()
        other = smf.glm("y ~ twice(x)", df).fit()
        """,
        """
        b = other.params.tolist(), other.predict(pd.DataFrame({"x": [3.5]})).tolist()
        del fit, other
        """,
    ],
}


@pytest.mark.parametrize("package", [pytest.param(name, marks=SLOW_TO_LOAD) for name in FORMULAS])
def test_what_a_formula_was_made_to_is_used_there(far: FarProcess, package: str) -> None:
    pytest.importorskip(package)
    same_as_local(far, *FORMULAS[package])
