"""What a user relies on, point by point, in a real kernel with a real worker, on both ways to reach it."""

from __future__ import annotations

import pytest

from cellferry.parcels.placeholder import MIME

from .conftest import NewUser, User

pytestmark = pytest.mark.slow


# ---- the magic ------------------------------------------------------------------------------------------------------


def test_a_wrong_word_is_an_error_that_names_the_right_one(user: User) -> None:
    name, text = user.is_told("%%remote tiemout=2h\n1")
    assert name == "UnknownOption" and "`timeout`" in text and "%%remote timeout=2h" in text
    name, text = user.is_told("%%remote timeout=soon\n1")
    assert name == "BadValue" and "%%remote timeout=2h" in text
    name, text = user.is_told("%remote stauts")
    assert name == "UnknownOption" and "%remote status" in text


@pytest.mark.parametrize("word", ["provider=slurm", "launch=ray", "nodes=4"])
def test_what_comes_later_says_so(user: User, word: str) -> None:
    name, text = user.is_told(f"%%remote {word}\n1")
    assert name == "NotYet" and word in text


def test_estimate_runs_nothing_and_starts_nothing(new_user: NewUser) -> None:
    user = new_user()
    user.sees("import numpy as np\nbig = np.zeros(1_000_000)\ndef use(x): return x.sum()")
    mark = user.folder / "it ran"
    told = user.sees(f"%%remote estimate\nopen({str(mark)!r}, 'w')\nuse(big)")
    assert "big" in told and "7.6 MiB" in told and "use" in told
    assert not mark.exists() and not user.workers()


def test_estimate_says_what_is_there_already(user: User) -> None:
    user.sees("import numpy as np\nestimated = np.arange(500_000.0)")
    assert "already there" not in user.sees("%%remote estimate\nestimated.sum()")
    user.sees("%%remote\nestimated.sum()")
    assert "already there" in user.sees("%%remote estimate\nestimated.sum()")


# ---- capture and pre-flight -----------------------------------------------------------------------------------------


def test_what_a_cell_needs_travels_by_itself(user: User) -> None:
    user.sees(
        "import math\nfactor = 3\ndef scale(x, by=lambda v: v * factor): return math.floor(by(x))\n"
        "class Base:\n    offset = 1\nclass Child(Base):\n    def run(self, x): return scale(x) + self.offset"
    )
    assert user.sees("%%remote\nprint(Child().run(2.5))") == "8\n"
    user.sees("factor = 10")
    assert user.sees("%%remote\nprint(Child().run(2.5))") == "26\n"


def test_a_local_module_travels_and_is_sent_again_when_it_changes(user: User) -> None:
    (user.folder / "beside.py").write_text("VALUE = 1\ndef value(): return VALUE\n")
    assert user.sees("import beside\nbeside.value()") == "1\n"
    assert user.sees("%%remote\nimport beside\nbeside.value()") == "1\n"
    (user.folder / "beside.py").write_text("VALUE = 'changed'\ndef value(): return VALUE\n")
    assert user.sees("%%remote\nimport beside\nbeside.value()") == "'changed'\n"


def test_a_name_that_exists_nowhere_is_told_before_anything_is_sent(new_user: NewUser) -> None:
    user = new_user()
    name, text = user.is_told("%%remote\nprint('ran')\nthere_is_no_such_name + 1")
    assert name == "UndefinedName" and "there_is_no_such_name" in text and "->" in text
    assert not user.workers()


def test_a_value_that_cannot_travel_is_named_by_its_path(user: User) -> None:
    user.sees(
        "from types import SimpleNamespace as Thing\n"
        "model = Thing(logger=Thing(handlers=[Thing(stream=open('log.txt', 'w'))]))"
    )
    name, text = user.is_told("%%remote\nmodel")
    assert name == "CannotTravel" and "model.logger.handlers[0].stream" in text and "->" in text


@pytest.mark.parametrize(
    ("made", "culprit"),
    [
        ("import threading\nstuck = {'deep': [threading.Lock()]}", "stuck['deep'][0]"),
        ("stuck = (n for n in range(3))", "stuck"),
        ("import socket\nstuck = [socket.socketpair()[0]]", "stuck[0]"),
        ("import sqlite3\nstuck = sqlite3.connect(':memory:')", "stuck"),
    ],
)
def test_other_values_that_cannot_travel(user: User, made: str, culprit: str) -> None:
    user.sees(made)
    name, text = user.is_told("%%remote\nstuck")
    assert name == "CannotTravel" and culprit in text
    user.sees("del stuck")


# ---- what comes home ------------------------------------------------------------------------------------------------


def test_bound_changed_and_deleted_names(user: User) -> None:
    user.sees("kept = [1]\nalias = {'k': kept}\nspare, gone = 0, 'x'\ndef see(default=kept): return list(default)")
    user.sees("%%remote\nkept.append(2)\nmade = {'new': True}\ndel gone")
    assert user.sees("print(made, alias, see(), alias['k'] is kept, 'gone' in globals())") == (
        "{'new': True} {'k': [1, 2]} [1, 2] True False\n"
    )


def test_arrays_share_memory_at_home_and_are_writable(user: User) -> None:
    user.sees("import numpy as np\nbase = np.zeros(8)\nview = base[2:4]\nholder = [base]")
    user.sees("%%remote\nbase += 1\nhalf = base[:4]")
    user.sees("half[0] = 5\nview[0] = 7")
    assert user.sees("print(base.tolist(), holder[0] is base)") == ("[5.0, 1.0, 7.0, 1.0, 1.0, 1.0, 1.0, 1.0] True\n")


def test_only_what_is_asked_for_comes_home(user: User) -> None:
    user.sees("%%remote returns=wanted\nwanted, unwanted = 1, 2")
    assert user.has("('wanted' in globals(), 'unwanted' in globals())") == (True, False)
    user.sees("%%remote returns=\nnothing_of_it = 1")
    assert user.has("'nothing_of_it' in globals()") is False
    assert user.sees("%%remote\nprint(unwanted + nothing_of_it)") == "3\n"


def test_a_failing_cell_returns_what_it_had_bound_and_says_so(user: User) -> None:
    user.sees("seen_before = []")
    seen = user.types("%%remote\nseen_before.append(1)\nbound_before = 'here'\n1 / 0\nnever_bound = 1")
    assert [o["ename"] for o in seen.outputs if o["output_type"] == "error"] == ["ZeroDivisionError"]
    told = "".join(o["data"]["text/plain"] for o in seen.outputs if o["output_type"] == "display_data")
    assert "bound_before" in told
    assert user.has("(bound_before, seen_before, 'never_bound' in globals())") == ("here", [1], False)


def test_a_large_value_stays_and_comes_when_it_is_named(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_FETCH_LIMIT="100000")
    user.sees("%%remote\nimport numpy as np\nlarge = np.ones((500, 500))\nsmall = [1]")
    assert user.has("type(large).__name__") == "Placeholder"
    assert "numpy.ndarray" in user.has("large") and "(500, 500)" in user.has("large") and "MiB" in user.has("large")
    user.sees("other_name = 0")
    assert user.has("type(large).__name__") == "Placeholder"
    user.sees("%%remote\nlarge[0] = 2\ntotal = large.sum()")
    assert user.has("(float(total), type(large).__name__)") == (250500.0, "Placeholder")
    assert user.sees("float(large.sum()), large[0, 0]") == "(250500.0, np.float64(2.0))\n"
    user.sees("large[0] = 3")
    assert user.sees("%%remote\nfloat(large.sum())") == "251000.0\n"


def test_what_stays_is_offered_to_a_frontend_that_can_bring_it(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_FETCH_LIMIT="100000")
    seen = user.types("%%remote returns=large\nimport numpy as np\nlarge = np.ones((500, 500))\nkept = np.ones(9)")
    offered = [output["data"] for output in seen.outputs if MIME in output.get("data", {})]
    assert [data[MIME]["name"] for data in offered] == ["large"]
    assert offered[0][MIME] | {"size_bytes": 2_000_000, "worker": "default", "reason": ""} == offered[0][MIME]
    assert offered[0]["text/plain"].endswith("until a local cell names it: large")
    reply = user.kernel.quietly("%remote fetch large")
    assert reply["status"] == "ok", reply
    assert user.has("type(large).__name__") == "ndarray"


def test_naming_inside_a_function_brings_it_home_too(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_FETCH_LIMIT="100000")
    user.sees("def total(): return int(sum(large))")
    user.sees("%%remote\nlarge = list(range(100_000))")
    assert user.has("type(large).__name__") == "Placeholder"
    assert user.sees("total()") == "4999950000\n"


def test_a_value_that_cannot_come_home_stays_usable_there(user: User) -> None:
    user.sees("%%remote\nliving = (n * n for n in range(5))\nnext(living)")
    name, text = user.is_told("list(living)")
    assert name == "StaysThere" and "living" in text and "%%remote" in text
    assert user.sees("%%remote\nlist(living)") == "[1, 4, 9, 16]\n"


# ---- files ----------------------------------------------------------------------------------------------------------


def test_files_go_by_name_and_come_home_beside_the_notebook(user: User) -> None:
    (user.folder / "input.txt").write_text("from home")
    user.sees("%%remote\ntext = open('input.txt').read()\nopen('output.txt', 'w').write(text + ' and back')")
    assert (user.folder / "output.txt").read_text() == "from home and back"
    user.sees("%%remote\nimport os\nos.makedirs('deep/er', exist_ok=True)\nopen('deep/er/file.txt', 'w').write('x')")
    assert (user.folder / "deep" / "er" / "file.txt").read_text() == "x"


def test_a_file_that_is_sent_and_changed_there_is_changed_here(user: User) -> None:
    (user.folder / "grows.txt").write_text("one\n")
    user.sees("%%remote\nwith open('grows.txt', 'a') as file: file.write('two\\n')")
    assert (user.folder / "grows.txt").read_text() == "one\ntwo\n"
    (user.folder / "grows.txt").write_text("begun anew\n")
    assert user.sees("%%remote\nopen('grows.txt').read()") == "'begun anew\\n'\n"


def test_files_by_pattern(user: User) -> None:
    (user.folder / "data").mkdir()
    for name in ("a.csv", "b.csv", "c.txt"):
        (user.folder / "data" / name).write_text(name)
    told = user.sees("%%remote files=data/*.csv\nimport os\nsorted(os.listdir('da' + 'ta'))")
    assert told == "['a.csv', 'b.csv', 'c.txt']\n", "a listing shows what is at home"
    name, _text = user.is_told("%%remote files=data/*.parquet\n1")
    assert name == "BadValue"


def test_a_file_changed_here_meanwhile_is_kept_beside_the_workers(new_user: NewUser, meeting) -> None:
    user = new_user(CELLFERRY_LOCAL_FOLDER="own")
    at = meeting(lambda pid: (user.folder / "both.txt").write_text("mine"))
    told = user.sees("%%remote\n" + at.cell + "open('both.txt', 'w').write('theirs')\nNone")
    found = sorted(path.name for path in user.folder.glob("both*"))
    assert (user.folder / "both.txt").read_text() == "mine"
    assert [(user.folder / name).read_text() for name in found if name != "both.txt"] == ["theirs"]
    assert "both.txt" in told


def test_a_large_file_stays_until_it_is_fetched(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_LOCAL_FOLDER="own", CELLFERRY_FILE_LIMIT="1000")
    told = user.sees("%%remote\nopen('large.bin', 'wb').write(bytes(5000))\nNone")
    assert "%remote get large.bin" in told and not (user.folder / "large.bin").exists()
    user.sees("%remote get large.bin")
    assert (user.folder / "large.bin").stat().st_size == 5000


# ---- workers --------------------------------------------------------------------------------------------------------


def test_cells_of_one_name_share_a_worker_and_others_do_not(new_user: NewUser) -> None:
    user = new_user()
    user.sees("%%remote returns=\nkept_there = 1")
    user.sees("%%remote name=other\nelsewhere = 2")
    assert user.is_told("%%remote name=other\nkept_there")[0] in ("UndefinedName", "NameError")
    assert user.sees("%%remote\nkept_there") == "1\n"
    status = user.sees("%remote status")
    assert "default" in status and "other" in status
    user.sees("%remote down other")
    assert "other" not in user.sees("%remote status")
    user.sees("%remote down --all")
    assert not user.workers()


def test_a_timeout_interrupts_the_cell(user: User) -> None:
    name, _text = user.is_told("%%remote timeout=1s\nimport threading\nbound_in_time = 1\nthreading.Event().wait()")
    assert name == "KeyboardInterrupt"
    assert user.has("bound_in_time") == 1
