"""``c.Cellferry.trust = "data"`` with a real worker: data comes home, everything else stays there and says so."""

from __future__ import annotations

import pytest

from .conftest import NewUser

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_data_comes_home_and_the_rest_stays(new_user: NewUser, transport: str) -> None:
    user = new_user(CELLFERRY_TRUST="data", CELLFERRY_LOCAL_TRANSPORT=transport)
    user.sees(
        "import numpy as np, pandas as pd\nclass P:\n    pass\n\nitems = [1]\nalias = {'k': items}\na = np.arange(4.0)\nview = a[1:]\n"
        "p = P()\np.v = 1\ndf = pd.DataFrame({'x': [1, 2]})"
    )
    text = user.sees(
        "%%remote\nfrom collections import OrderedDict\nimport json as j\nitems.append({'n': [2]})\na[2] = 99\np.v = [5]\n"
        "df['y'] = df.x * 2\n"
        "new = {'a': a, 'i': items, 't': (1, b'x')}\nmade = OrderedDict(a=1)\ndef f(): return made\n[1, {'r': 2.5}]"
    )
    assert "[1, {'r': 2.5}]" in text and "made stayed on the worker" in text and "trust is set to data" in text
    assert user.has("(items, alias['k'] is items, view.tolist(), p.v, new['a'] is a, new['i'] is items, new['t'], list(df.y))") == (
        [1, {"n": [2]}], True, [1.0, 99.0, 3.0], [5], True, True, (1, b"x"), [2, 4],
    )  # fmt: skip
    assert user.has("(j.__name__, OrderedDict.__name__, _)") == ("json", "OrderedDict", [1, {"r": 2.5}])
    name, told = user.is_told("made")
    assert name == "StaysThere" and "data" in told and "->" in told
    assert (
        user.sees("%%remote\nitems.append(3)\nprint(items, f() is made, p.v)\nlen(items)")
        == "[1, {'n': [2]}, 3] True [5]\n3\n"
    )
    assert user.has("(items, alias['k'] is items)") == ([1, {"n": [2]}, 3], True)
    name, _text = user.is_told("%%remote\nitems.append(4)\n1 / 0")
    assert name == "ZeroDivisionError" and user.has("items[-1]") == 4


def test_large_data_stays_until_it_is_named(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_TRUST="data", CELLFERRY_FETCH_LIMIT="1000")
    user.sees("%%remote\nimport numpy as np\nbig = np.arange(10_000)\nwords = ['w'] * 3")
    assert "on worker" in user.has("big") and user.has("words") == ["w"] * 3
    assert user.sees("print(big.sum(), type(big).__name__)") == "49995000 ndarray\n"
    assert user.sees("%%remote\nprint(big[-1])") == "9999\n"


def test_a_change_that_is_no_data_does_not_break_the_next_cell(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_TRUST="data")
    user.sees("import pandas as pd\nd, other = {}, [1]")
    text = user.sees(
        "%%remote\nd['lock'] = object()\nother.append(2)\nn = 3\np = pd.DataFrame({'p': pd.period_range('2020', periods=3, freq='M')})"
    )
    assert "cannot travel" in text and "p stayed on the worker" in text
    assert user.has("(d, other, n)") == ({}, [1, 2], 3)
    assert user.sees("%%remote\nother.append(len(d) + len(p))\nother").startswith("[1, 2, 4]\n")
    assert user.has("other") == [1, 2, 4]


def test_files_that_python_runs_stay(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_TRUST="data")
    shown = user.sees("%%remote\nopen('made.py', 'w').write('1')\nopen('made.csv', 'w').write('1')\nNone")
    assert "made.py stayed on the worker" in shown
    assert (user.folder / "made.csv").exists() and not (user.folder / "made.py").exists()
