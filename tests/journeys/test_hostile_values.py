"""Values that resist, in a real kernel with a real worker: every cell ends, and says which value stayed and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import User

pytestmark = pytest.mark.slow
HOSTILE = (Path(__file__).parents[1] / "parcels" / "hostile.py").read_text()


def test_a_result_that_cannot_be_packed_stays_and_the_rest_comes_home(user: User) -> None:
    (user.folder / "hostile.py").write_text(HOSTILE)
    user.sees("from hostile import make")
    for number, kind in enumerate(("irreducible", "class from None", "denier", "dead inside", "endless", "unmakeable")):
        told = user.sees(f"%%remote\nodd = make({kind!r}, 1)\ngood = [{number}]")
        assert user.has("good") == [number]
        assert ("odd stayed" in told) == (user.has("type(odd).__name__") == "Placeholder")
    user.sees("%%remote\nimport sys\nm = make('incomparable', 0); n = make('magic mock', 0); o = make('untrue', 0)")
    assert user.has("m.held") == [1] and user.has("type(n).__name__") == "MagicMock"


def test_a_result_of_sympy_does_not_make_the_cell_wait(user: User) -> None:
    pytest.importorskip("sympy")
    user.sees("%%remote\nimport sympy\nf = sympy.Function('f'); good = 1\nf")
    assert user.has("good") == 1


def test_a_dead_proxy_disturbs_no_later_cell(user: User) -> None:
    user.sees("import weakref\nclass T: pass\nt = T(); h = T(); h.p = weakref.proxy(t); h.n = 0")
    user.sees("%%remote\nh.n += 1")
    user.sees("del t\nimport gc; gc.collect()")
    for count in (2, 3):
        user.sees("%%remote\nh.n += 1\nmany = [[i] for i in range(600)]")
        assert user.has("h.n") == count


def test_what_goes_wrong_around_the_results_is_the_cells_error(user: User) -> None:
    user.sees("odd = 0")
    name, text = user.is_told("%%remote\n_oh = None\nglobals()['_oh'] = 5\nodd = 1")
    assert name == "ParcelError" and "cannot go home" in text
    assert user.sees("%%remote\n_oh = {}\nprint(2)") == "2\n"


def test_a_value_that_cannot_be_made_there_is_named_with_a_remedy_that_helps(user: User) -> None:
    (user.folder / "hostile.py").write_text(HOSTILE)
    user.sees("from hostile import make\nbad = [make('unmakeable', 0)]")
    name, text = user.is_told("%%remote\nlen(bad)")
    assert name == "ParcelError" and "bad cannot be made on the worker (ValueError: no)" in text
    assert "make bad in the %%remote cell itself" in text and "again" not in text
    assert user.sees("%%remote\nprint(1)") == "1\n"


def test_a_module_made_by_hand_is_refused_with_the_path_before_anything_runs(user: User) -> None:
    user.sees(
        "import sys, types\nby_hand = types.ModuleType('by_hand'); sys.modules['by_hand'] = by_hand\n"
        "exec('def f(): return 1', by_hand.__dict__)\nheld = {'m': [by_hand]}; f = by_hand.f"
    )
    name, text = user.is_told("%%remote\nheld")
    assert name == "CannotTravel" and "held['m'][0]" in text and "made by hand" in text and ".py file" in text
    assert user.is_told("%%remote\nf()")[0] == "CannotTravel"


def test_declarative_models_are_refused_with_a_remedy(user: User) -> None:
    pytest.importorskip("sqlalchemy")
    user.sees(
        "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\nclass Base(DeclarativeBase): pass\n"
        "class U(Base):\n    __tablename__ = 'u'\n    id: Mapped[int] = mapped_column(primary_key=True)\nus = [U(id=1)]"
    )
    name, text = user.is_told("%%remote\nus")
    assert name == "CannotTravel" and "us[0].__class__" in text and "SQLAlchemy" in text and ".py file" in text


def test_ctypes_arrays_travel_and_change_in_place(user: User) -> None:
    user.sees("import ctypes\na = (ctypes.c_int * 3)(1, 2, 3); held = [a]")
    user.sees("%%remote\na[0] = 9\nb = (ctypes.c_double * 2)(1, 2)")
    assert user.has("list(a)") == [9, 2, 3] and user.has("held[0] is a") and user.has("list(b)") == [1.0, 2.0]
