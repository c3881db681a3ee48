"""A worker on this machine works in the notebook's own folder: what is there, what `!` sees, and where a cell goes."""

from __future__ import annotations

import os

import pytest

from .conftest import NewUser, User, worker_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory):
    from .kernel import kernel

    folder = tmp_path_factory.mktemp("same") / "work"
    folder.mkdir()
    with kernel(folder) as found:
        yield User(found, folder)


def test_a_cell_sees_the_folder_as_it_is(user: User) -> None:
    (user.folder / "data").mkdir()
    (user.folder / "data" / "x.csv").write_text("a,b\n1,2\n")
    (user.folder / "big.bin").write_bytes(bytes(2 << 20))
    assert user.sees("%%remote\nimport os, glob\nprint(os.getcwd(), sorted(os.listdir()), glob.glob('da*/*'))") == (
        f"{user.folder} ['big.bin', 'data'] ['data/x.csv']\n"
    )
    assert user.sees("%%remote\nopen('da' + 'ta/x.' + 'csv').read()") == "'a,b\\n1,2\\n'\n"
    assert user.sees("%%remote\n!pwd; ls").split() == [str(user.folder), "big.bin", "data"]
    assert user.has("getattr(get_ipython(), '_cellferry').last_report.sent_bytes") < 100_000


def test_what_a_cell_writes_is_there_at_once_and_nothing_else(user: User) -> None:
    before = sorted(path.name for path in user.folder.iterdir())
    pid = int(user.sees("%%remote\nimport os\nwith open('written.txt', 'w') as f: f.write('there')\nos.getpid()"))
    assert (user.folder / "written.txt").read_text() == "there"
    assert user.sees("%remote get writ*.txt").strip().endswith("written.txt")
    name, text = user.is_told("%remote get nowhere.txt")
    assert name == "BadValue" and "written.txt" in text
    assert user.is_told("%%remote files=*.parquet\n1")[0] == "BadValue"
    user.sees("%%remote files=*.txt\nos.remove('written.txt')")
    assert not (user.folder / "written.txt").exists()
    private = worker_folder(pid)
    assert user.folder not in private.parents
    assert not [path for path in (private / "work").rglob("*") if path.is_file()]
    assert sorted(path.name for path in user.folder.iterdir()) == before


def test_the_working_directory_is_one(user: User) -> None:
    user.sees("import os\nos.chdir('data')")
    assert user.sees("%%remote\nopen('x.csv').readline()") == "'a,b\\n'\n"
    user.sees("%%remote\nos.chdir('..')\nos.mkdir('sub')\nos.chdir('sub')")
    assert user.has("os.getcwd()") == str(user.folder / "sub")
    assert user.sees("%%remote\nos.path.basename(os.getcwd())") == "'sub'\n"
    assert user.is_told("%%remote\nos.chdir('..')\n1/0")[0] == "ZeroDivisionError"
    assert user.has("os.getcwd()") == str(user.folder)
    user.sees("%%remote\n%cd -q data")
    assert user.sees("os.listdir()") == "['x.csv']\n"
    user.sees("%cd -q ..")
    user.sees("%%remote\nos.rmdir('sub')")


def test_modules_come_from_where_they_lie(user: User) -> None:
    (user.folder / "beside.py").write_text("VALUE = 1\n")
    (user.folder / "lib").mkdir()
    (user.folder / "lib" / "apart.py").write_text("def value(): return 1\n")
    user.sees("import sys\nsys.path.append('lib')\nimport apart")
    seen = user.sees(
        "%%remote\nimport beside, apart\nprint(beside.VALUE, apart.value(), beside.__file__, apart.__file__)"
    )
    assert seen == f"1 1 {user.folder / 'beside.py'} {user.folder / 'lib' / 'apart.py'}\n"
    (user.folder / "beside.py").write_text("VALUE = 'changed'\n")
    (user.folder / "lib" / "apart.py").write_text("def value(): return 'changed too'\n")
    assert user.sees("%%remote\nimport beside, apart\nbeside.VALUE, apart.value()") == "('changed', 'changed too')\n"
    assert user.has("sorted(p for p in sys.modules if p == 'beside')") == ["beside"]


def test_two_workers_and_one_that_keeps_to_itself(new_user: NewUser) -> None:
    user = new_user()
    (user.folder / "x.txt").write_text("x")
    for words in ("", "provider=local name=other"):
        assert user.sees(f"%%remote {words}\nimport os\nos.listdir('.')") == "['x.txt']\n"
    user = new_user(CELLFERRY_TRUST="data")
    assert user.sees("%%remote\nimport os\nos.getcwd()") != f"{str(user.folder)!r}\n"
    user = new_user(CELLFERRY_LOCAL_FOLDER="own")
    assert user.sees("%%remote\nimport os\nos.getcwd()") != f"{str(user.folder)!r}\n"


def test_a_cell_that_was_let_go_goes_on_in_the_folder(new_user: NewUser) -> None:
    user = new_user()
    os.mkfifo(user.folder / "door")
    user.sees("%%remote detach\nopen('door').read()\nopen('made.txt', 'w').write('later')\n'done'")
    user.restarts()
    user.sees("%load_ext cellferry")
    (user.folder / "door").write_text("go")
    assert "'done'" in user.sees("%remote attach")
    assert (user.folder / "made.txt").read_text() == "later"


def test_a_folder_that_is_gone(new_user: NewUser) -> None:
    user = new_user()
    user.sees("import os\nos.mkdir('short')\nos.chdir('short')\nos.rmdir('../short')")
    assert user.sees("%%remote\n1 + 1") == "2\n"


def test_what_was_typed_is_kept_on_both_sides(user: User) -> None:
    user.sees("typed = 1")
    user.sees("%%remote\ntyped = 2")
    assert user.sees("print(In[-2], _i, In[-3])") == "%%remote\ntyped = 2 %%remote\ntyped = 2 typed = 1\n"
    assert user.sees("print(In[-3])") == "%%remote\ntyped = 2\n"
    seen = user.sees("%%remote\nprint(In[-2], _i, In[-1], len(In) == len(_ih), sep='|')")
    assert (
        seen == "print(In[-3])|print(In[-3])|%%remote\nprint(In[-2], _i, In[-1], len(In) == len(_ih), sep='|')|True\n"
    )
    assert "print(In[-3])" in user.sees("%%remote\n%history -l 3")
    user.sees("key = 'ghp_" + "a1B2" * 9 + "'  # the text of a cell")
    assert user.is_told("%%remote\nlen(In)")[0] == "LooksSecret"
    assert user.sees("%%remote allow=In\nlen(In) > 3") == "True\n"
