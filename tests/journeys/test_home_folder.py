"""A worker elsewhere sees the notebook's folder: what it lists is what is at home, and what it opens is fetched."""

from __future__ import annotations

import sqlite3

import pytest

from .conftest import NewUser, User
from .kernel import kernel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("elsewhere") / "work"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    for name in ("data/a.csv", "data/b.csv", "data/deep/c.csv"):
        (folder / name).write_text(f"x\n{len(name)}\n")
    (folder / "big.bin").write_bytes(bytes(3 << 20))
    (folder / ".env").write_text("TOKEN=1")
    (folder / ".gitignore").write_text("ignored/\n")
    (folder / "ignored").mkdir()
    (folder / "ignored" / "x.csv").write_text("ignored")
    settings = {"CELLFERRY_LOCAL_FOLDER": "own", "CELLFERRY_FILE_LIMIT": str(4 << 20)}
    with kernel(folder, settings) as found:
        user = User(found, folder)
        user.sees("import os")
        yield user


def test_listings_show_what_is_at_home(user: User) -> None:
    listed = user.sees(
        "%%remote\nimport os, glob, pathlib\nstar = chr(42)\n"
        "print(sorted(os.listdir()), sorted(glob.glob(2 * star + '/' + star + '.csv', recursive=True)))\n"
        "print(sorted(str(p) for p in pathlib.Path('da' + 'ta').rglob(star + '.csv')), [len(f) for _p, _d, f in os.walk('da' + 'ta')])\n"
        "print(os.path.exists('big.' + 'bin'), os.path.getsize('big.' + 'bin'), os.path.isdir('emp' + 'ty'), os.path.exists('no'))\n"
        "print(sorted((e.name, e.is_file(), e.stat().st_size) for e in os.scandir('da' + 'ta')))\n"
        "print(os.access('data/a' + '.csv', os.R_OK), os.access('data/a' + '.csv', os.X_OK), os.listdir(b'data/de' + b'ep'))"
    )
    assert listed == (
        "['.gitignore', 'big.bin', 'data', 'empty'] ['data/a.csv', 'data/b.csv', 'data/deep/c.csv']\n"
        "['data/a.csv', 'data/b.csv', 'data/deep/c.csv'] [2, 1]\n"
        "True 3145728 True False\n"
        "[('a.csv', True, 5), ('b.csv', True, 5), ('deep', False, 4096)]\n"
        "True False [b'c.csv']\n"
    )
    assert user.has("getattr(get_ipython(), '_cellferry').last_report.sent_bytes") < 100_000


def test_what_is_opened_is_fetched_and_said_in_a_line(user: User) -> None:
    seen = user.sees("%%remote\nimport pandas as pd\n[int(pd.read_csv(f'data/{n}.csv').x[0]) for n in 'ab']")
    assert seen == "[10, 10]\nfetched data/a.csv, data/b.csv (10 B) from the notebook's folder\n"
    assert user.sees("%%remote\nopen('data/' + 'a.csv').read()") == "'x\\n10\\n'\n", "it is there now"
    (user.folder / "data" / "a.csv").write_text("changed")
    assert user.sees("%%remote\nopen('data/' + 'a.csv').read()") == "'changed'\n"


def test_what_is_changed_there_is_changed_here(user: User) -> None:
    (user.folder / "log.txt").write_text("one\n")
    user.sees("%%remote\nwith open('lo' + 'g.txt', 'a') as f: f.write('two\\n')")
    assert (user.folder / "log.txt").read_text() == "one\ntwo\n"
    (user.folder / "new.txt").write_text("old")
    said = user.sees("%%remote\nwith open('ne' + 'w.txt', 'w') as f: f.write('new')")
    assert (user.folder / "new.txt").read_text() == "old" and "yours is kept" in said and "fetched" not in said
    assert (user.folder / "new.remote-1.txt").read_text() == "new", "no worker has had it, and no text of the cell names it"
    user.sees("%%remote\nwith open('emp' + 'ty/made.txt', 'w') as f: f.write('in a folder of home')")
    assert (user.folder / "empty" / "made.txt").read_text() == "in a folder of home"
    assert user.is_told("%%remote\nopen('data/b' + '.csv', 'x')")[0] == "FileExistsError"
    assert user.is_told("%%remote\nos.mkdir('da' + 'ta')")[0] == "FileExistsError"


def test_what_is_removed_there_stays_removed_there(user: User) -> None:
    (user.folder / "gone.txt").write_text("x")
    shown = user.sees(
        "%%remote\nos.remove('gon' + 'e.txt')\nprint(os.path.exists('gon' + 'e.txt'), 'gone.' + 'txt' in os.listdir())"
    )
    assert shown.startswith("False False\n")
    assert user.sees("%%remote\nprint(os.path.exists('gon' + 'e.txt'))") == "False\n"
    (user.folder / "tree").mkdir()
    (user.folder / "tree" / "leaf.txt").write_text("x")
    assert user.is_told("%%remote\nos.rmdir('tr' + 'ee')")[0] == "OSError"
    moved = user.sees(
        "%%remote\nos.rename('tr' + 'ee', 'moved')\nprint(os.listdir('moved'), os.path.exists('tr' + 'ee/leaf.txt'))"
    )
    assert moved.startswith("['leaf.txt'] False\n")
    assert (user.folder / "moved" / "leaf.txt").read_text() == "x"
    shown = user.sees("%%remote\nimport shutil\nshutil.rmtree('da' + 'ta/deep')\nprint('deep' in os.listdir('data'))")
    assert shown.startswith("False\n")


def test_what_may_not_travel_does_not(user: User) -> None:
    for cell in ("open('.e' + 'nv')", "open('ignored/' + 'x.csv')"):
        assert user.is_told(f"%%remote\n{cell}") == ("FileNotFoundError", user.is_told("%%remote\n" + cell)[1])
    assert user.is_told("%%remote\nopen('not' + 'here')")[1] == "[Errno 2] No such file or directory: 'nothere'"
    (user.folder / "token.txt").write_text("ghp_" + "a1B2" * 9)
    name, text = user.is_told("%%remote\nopen('toke' + 'n.txt')")
    assert name == "FileNotFoundError" and "credential" in text and "files=token.txt" in text
    (user.folder / "huge.bin").write_bytes(bytes(5 << 20))
    for mode in ("r", "a"):
        name, text = user.is_told(f"%%remote\nopen('hug' + 'e.bin', '{mode}')")
        assert name == "FileNotFoundError" and "file_limit" in text and "files=huge.bin" in text
    assert (user.folder / "huge.bin").stat().st_size == 5 << 20


def test_programs_find_the_small_files_and_what_they_name(user: User) -> None:
    (user.folder / "script.py").write_text(
        "import os\nprint(sorted(os.listdir('data'))[:2], open('small.txt').read())\n"
    )
    (user.folder / "small.txt").write_text("small")
    (user.folder / "big2.bin").write_bytes(bytes(2 << 20))
    seen = user.sees("%%remote\nname = 'scr' + 'ipt.py'\n!python {name}; ls data")
    assert "['a.csv', 'b.csv'] small" in seen and seen.count("a.csv") >= 2
    assert "not fetched for the program: big" in seen and "huge.bin" in seen
    seen = user.sees(
        "%%remote\nimport subprocess\nprint(subprocess.run(['wc', '-c', 'big' + '2.bin'], capture_output=True).stdout)"
    )
    assert "2097152 big2.bin" in seen


def test_other_ways_to_a_file(user: User) -> None:
    with sqlite3.connect(user.folder / "table.db") as base:
        base.execute("create table t (x)")
        base.execute("insert into t values (7)")
    assert "[(7,)]" in user.sees(
        "%%remote\nimport sqlite3\nsqlite3.connect('tab' + 'le.db').execute('select x from t').fetchall()"
    )
    above = user.folder.parent / "above"
    above.mkdir()
    (above / "y.csv").write_text("above")
    assert "'above'" in user.sees("%%remote\nopen('../abo' + 've/y.csv').read()")
    (user.folder / "threads").mkdir()
    for number in range(20):
        (user.folder / "threads" / f"{number}.txt").write_text(str(number))
    assert "190\n" in user.sees(
        "%%remote\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: total = sum(pool.map(lambda n: int(open(f'threads/{n}.txt').read()), range(20)))\ntotal"
    )
    assert user.sees("%%remote\nos.chdir('thr' + 'eads')\nprint(len(os.listdir()))\nos.chdir('..')") == "20\n"


def test_a_forked_process_says_what_to_do(user: User) -> None:
    (user.folder / "forked.txt").write_text("x")
    name, text = user.is_told(
        "%%remote\nimport multiprocessing, os\nos.listdir()\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool: pool.apply(os.open, ('fork' + 'ed.txt', 0))"
    )
    assert name == "FileNotFoundError" and "files=forked.txt" in text


def test_nobody_answers_for_a_cell_that_was_let_go(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_LOCAL_FOLDER="own")
    (user.folder / "x.csv").write_text("x")
    user.sees("%%remote detach\ntry:\n    open('x' + '.csv')\nexcept FileNotFoundError as error:\n    why = str(error)")
    user.sees("%remote attach")
    assert "let go" in user.has("why") and "files=x.csv" in user.has("why")
    user = new_user(CELLFERRY_TRUST="data")
    (user.folder / "x.csv").write_text("x")
    name, text = user.is_told("%%remote\nopen('x' + '.csv')")
    assert name == "FileNotFoundError" and "data alone" in text and "files=x.csv" in text


def test_a_listing_has_an_end(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_LOCAL_FOLDER="own")
    user.sees("import cellferry.link.inventory as inventory\ninventory.MOST_ENTRIES = 5")
    for number in range(9):
        (user.folder / f"folder{number}").mkdir()
        (user.folder / f"folder{number}" / "x.txt").write_text("x")
    (user.folder / "loop").symlink_to(user.folder)
    seen = user.sees("%%remote\nimport os\nprint(len([d for d in os.listdir() if d.startswith('folder')]))")
    assert "5\n" in seen and "files=NAME" in seen
    (user.folder / "loop").unlink()
