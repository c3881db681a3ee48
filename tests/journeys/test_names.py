"""Names that the text of a cell does not show: looked up when the cell runs, and answered by the notebook."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from .conftest import Meeting, NewUser, User
from .kernel import kernel

pytestmark = pytest.mark.slow

LIBRARY = '''
import sys


def looked_up(text):
    """What a formula library does: names in a text are those of whoever calls."""
    return sys._getframe(1).f_globals[text]


def in_frame(formula):
    caller = sys._getframe(1)
    return eval(formula, caller.f_globals, caller.f_locals)


def bind(names):
    caller = sys._getframe(1)
    for name in names.split():
        caller.f_globals[name] = name.upper()
'''


@pytest.fixture(scope="module", params=["unix", "tls"])
def user(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    folder = tmp_path_factory.mktemp(request.param) / "work"
    folder.mkdir()
    (folder / "formulas.py").write_text(LIBRARY)
    with kernel(folder, {"CELLFERRY_LOCAL_TRANSPORT": request.param}) as found:
        yield User(found, folder)


# ---- __main__ --------------------------------------------------------------------------------------------------------


def test_failing_tests_of_earlier_cells_fail(user: User) -> None:
    user.sees(
        "import unittest\nclass Sums(unittest.TestCase):\n    def test_right(self): self.assertEqual(1 + 1, 2)\n"
        "    def test_wrong(self): self.assertEqual(1 + 1, 3)"
    )
    told = user.sees(
        "%%remote\nimport unittest\nran = unittest.main(argv=['x'], exit=False).result\nprint(ran.testsRun)"
    )
    assert "Ran 2 tests" in told and "FAILED (failures=1)" in told and "\n2\n" in told


def test_doctests_and_members_of_earlier_cells_are_seen(user: User) -> None:
    user.sees('def doubled(x):\n    """\n    >>> doubled(2)\n    5\n    """\n    return 2 * x')
    assert "Expected:\n    5\nGot:\n    4" in user.sees("%%remote\nimport doctest\nprint(doctest.testmod())")
    told = "import inspect, __main__\nprint([n for n, _ in inspect.getmembers(__main__, inspect.isfunction)])"
    assert "'doubled'" in user.sees(f"%%remote\n{told}")
    assert (
        user.sees("%%remote\nimport __main__\nprint('doubled' in dir(__main__), 'doubled' in vars(__main__))")
        == "True True\n"
    )


def test_a_pickle_finds_the_class_of_an_earlier_cell(user: User) -> None:
    user.sees("import pickle\nclass Stored:\n    def __init__(self): self.x = 5\nblob = pickle.dumps(Stored())")
    assert user.sees("%%remote\nloaded = pickle.loads(blob)\nprint(loaded.x, type(loaded).__name__)") == "5 Stored\n"
    assert user.has("type(loaded) is Stored") is True


def test_main_is_asked_and_what_it_gives_is_the_same_object(user: User) -> None:
    user.sees("shelf = {'a': [1]}\nalias = shelf['a']\nnumber = 1")
    user.sees("%%remote\nimport __main__\ngetattr(__main__, 'sh' + 'elf')['a'].append(2)\nprint(__main__.number)")
    assert user.has("(shelf, alias is shelf['a'])") == ({"a": [1, 2]}, True)
    user.sees("number = 2\nshelf['a'].append(3)")
    assert user.sees(
        "%%remote\nimport __main__\nprint(getattr(__main__, 'num' + 'ber'), getattr(__main__, 'sh' + 'elf'))"
    ) == ("2 {'a': [1, 2, 3]}\n")
    user.sees("del number")
    assert user.sees("%%remote\nimport __main__\nprint(hasattr(__main__, 'num' + 'ber'))") == "False\n"


def test_large_values_that_are_asked_for_travel_too(user: User) -> None:
    user.sees("import numpy as np\nlarge = np.arange(2_000_000.0)\nview = large[5:]")
    user.sees(
        "%%remote\nimport __main__\ngetattr(__main__, 'lar' + 'ge')[5] = -1\nprint(getattr(__main__, 'vi' + 'ew')[0])"
    )
    assert user.has("(float(large[5]), float(view[0]), view.base is large)") == (-1.0, -1.0, True)
    user.sees("large[6] = -2")
    assert user.sees("%%remote\nimport __main__\nprint(getattr(__main__, 'lar' + 'ge')[4:8])") == "[ 4. -1. -2.  7.]\n"


def test_the_cell_comes_first(user: User) -> None:
    user.sees("ours = 'here'\ngone = 'here'\nkept = 'here'\ndef both(): return ours, kept")
    cell = (
        "%%remote\nimport __main__\nours = 'there'\ndel __main__.gone\nprint(hasattr(__main__, 'go' + 'ne'),"
        " getattr(__main__, 'bo' + 'th')(), getattr(__main__, 'ou' + 'rs'))"
    )
    assert user.sees(cell) == "False ('there', 'here') there\n"
    assert user.has("('gone' in globals(), ours)") == (False, "there")


# ---- eval, exec, globals() -------------------------------------------------------------------------------------------


def test_texts_that_functions_evaluate_name_values_of_earlier_cells(user: User) -> None:
    user.sees(
        "class display:\n    def __init__(self, *names): self.names = names\n"
        "    def __repr__(self): return ' '.join(f'{n}={eval(n)}' for n in self.names)\n"
        "def first(n): return eval(n[0] + 'ight')\nright = 8\nleft_over = [1]\ndef whole(): return sorted(globals())"
    )
    assert user.sees("%%remote\ndisplay('right', 'left' + '_over')") == "right=8 left_over=[1]\n"
    assert user.sees("%%remote\nprint(first('r'))") == "8\n"
    user.sees("right = 9")
    assert user.sees("%%remote\nprint(first('r'))") == "9\n"
    assert user.sees("%%remote\nprint({'left_over', 'display'} <= set(whole()))") == "True\n"


def test_a_text_behaves_as_it_does_here(user: User) -> None:
    setup = (
        "def inner():\n    here = 1\n    exec('here = 2; made_inside = 3')\n    return here, eval('here + 1'), 'made_inside' in globals()\n"
        "def outer():\n    exec('made_outside = 3', globals())\n    return eval('made_outside')\n"
        "def closed(g=None):\n    return eval('len(x)', {'x': 'abc'}), eval('y', g or {}, {'y': 4})"
    )
    user.sees(setup)
    assert user.sees("print(inner(), outer(), closed())") == user.sees("%%remote\nprint(inner(), outer(), closed())")
    assert user.has("made_outside") == 3


def test_a_name_that_is_nowhere_is_the_usual_error(user: User) -> None:
    user.sees("nearby_name = 1\ndef evaluated(text): return eval(text)")
    name, text = user.is_told("%%remote\nevaluated('nearby_' + 'nam')")
    assert (name, text.partition(".")[0]) == ("NameError", "name 'nearby_nam' is not defined")
    shown = user.types("%%remote\nevaluated('1 / ' + '0')").outputs[-1]
    assert "hidden" not in "".join(shown["traceback"]) and "asking" not in "".join(shown["traceback"])


def test_what_cannot_travel_is_said_where_it_is_looked_up(user: User) -> None:
    user.sees("import threading\nlatch = threading.Lock()\ndef evaluated(text): return eval(text)")
    shown = user.types("%%remote\nevaluated('lat' + 'ch')").outputs[-1]
    assert shown["ename"] == "NameError" and "cannot travel" in "".join(shown["traceback"])


def test_a_credential_is_not_given_away(user: User) -> None:
    token = "ghp_" + "a1B2c3D4e5" * 3 + "a1B2c3"
    user.sees(f"hub = {token!r}")
    user.sees("def evaluated(text): return eval(text)")  # a cell of its own: its text goes along
    shown = user.types("%%remote\nevaluated('hu' + 'b')").outputs[-1]
    assert shown["ename"] == "NameError" and "credential" in "".join(shown["traceback"])
    user.sees("del hub")


# ---- the caller's frame ----------------------------------------------------------------------------------------------


def test_libraries_that_look_into_the_frame_find_what_their_text_names(user: User) -> None:
    user.sees(
        "import formulas, pandas as pd\ndef centred(x): return x - 1\nlimit = 2\nformula = 'centred(5)'\n"
        "table = pd.DataFrame({'a': [1, 2, 3]})\ncondition = 'a > @limit'\n"
        "def chosen(frame, text): return len(frame.query(text))\ndef fitted(text): return formulas.in_frame(text)"
    )
    assert (
        user.sees("%%remote\nprint(formulas.in_frame('centred(3)'), formulas.in_frame(formula), fitted(formula))")
        == "2 4 4\n"
    )
    assert user.sees("%%remote\nprint(formulas.looked_up('limit'))") == "2\n"
    assert user.sees("%%remote\nprint(len(table.query(condition)), chosen(table, condition))") == "1 1\n"
    user.sees("limit = 1")
    assert user.sees("%%remote\nprint(len(table.query(condition)), chosen(table, condition))") == "2 2\n"


def test_names_that_a_call_binds_are_not_refused(user: User) -> None:
    user.sees("import formulas")
    assert user.sees("%%remote\nformulas.bind('alpha beta')\nprint(alpha + beta)") == "ALPHABETA\n"
    name, _text = user.is_told("%%remote\nimport math\nmath.sqrt(2)\nthere_is_no_such_name")
    assert name == "UndefinedName"


def test_builtins_are_a_module(user: User) -> None:
    user.sees("def builtin_names(): return len(vars(__builtins__)) > 100, __builtins__.len is len")
    assert user.sees("%%remote\nprint(builtin_names())") == "(True, True)\n"
    assert (
        user.sees("%%remote\nimport builtins\nbuiltins.mine = 5\nprint(mine, builtins.mine)\ndel builtins.mine")
        == "5 5\n"
    )
    patched = "from unittest import mock\ndef said():\n  with mock.patch('builtins.print') as p: print(1)\n  return p.call_count"
    user.sees(patched)
    assert user.sees("%%remote\nprint(said())") == "1\n"


# ---- nobody there ----------------------------------------------------------------------------------------------------


def test_a_detached_cell_has_what_its_functions_may_evaluate(user: User) -> None:
    user.sees("base_value = 4\ndef evaluated(text): return eval(text)")
    user.sees("%%remote detach\nfound = evaluated('base_' + 'value')")
    user.sees("%remote attach")
    assert user.has("found") == 4


def test_a_notebook_that_takes_only_data_is_not_asked(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_TRUST="data")
    user.sees("base_value = 4\ndef evaluated(text): return eval(text)")
    shown = user.types("%%remote\nprint(evaluated('base_' + 'value'))").outputs[-1]
    assert shown["ename"] == "NameError" and "trust" in "".join(shown["traceback"])


def test_an_interrupt_during_an_answer_ends_the_cell_and_nothing_else(
    new_user: NewUser, meeting: Callable[[Callable[[int], None]], Meeting]
) -> None:
    user = new_user()
    place = meeting(lambda pid: os.kill(pid, signal.SIGINT))
    block = "\n".join(f"            {line}" for line in place.cell.splitlines())
    user.sees(
        "met = []\nclass Slow:\n    def __reduce__(self):\n        if not met:\n            met.append(1)\n"
        f"{block}\n        return list, ([5],)\nslow = Slow()\ndef evaluated(text): return eval(text)"
    )
    assert user.is_told("%%remote\nevaluated('sl' + 'ow')\nimport time\ntime.sleep(600)")[0] == "KeyboardInterrupt"
    assert user.sees("%%remote\nprint(evaluated('sl' + 'ow'), evaluated('me' + 't'))") == "[5] [1]\n"


def test_a_script_finds_the_modules_beside_it(user: User) -> None:
    (user.folder / "beside_script.py").write_text("word = 'found'")
    (user.folder / "script.py").write_text("import beside_script\nprint(beside_script.word)")
    assert user.sees("%%remote\n%run script.py") == "found\n"
    assert user.sees("%%remote\n%run script") == "found\n"
    assert user.sees("%%remote\n!python script.py").strip() == "found"


def test_what_was_rebound_here_is_not_what_a_frame_there_still_has(user: User) -> None:
    """A library that nobody knows to read frames gets what is new and small; what is large is not there, and it says so."""
    (user.folder / "frames_in_c.py").write_text(
        "from operator import attrgetter\nimport sys\nframe_of = vars(sys)['_get' + 'frame']\n"
        "def held(name): return attrgetter('f_glo' + 'bals')(frame_of(1)).get(name, 'absent')"
    )
    user.sees("import frames_in_c\nheld_list, held_number = [1], 1")
    ask = "%%remote\nprint(frames_in_c.held('held_' + 'list'), frames_in_c.held('held_' + 'number'))"
    user.sees("%%remote\nheld_list, held_number")
    assert user.sees(ask) == "[1] 1\n"
    user.sees("held_list, held_number = [2], 2")
    assert user.sees(ask) == "absent 2\n"
