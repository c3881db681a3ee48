"""Secrets in a real kernel with a real worker: only what is named goes, for the cell alone, and nothing shows it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from .conftest import NewUser, is_worker, worker_folder

pytestmark = pytest.mark.slow

SECRET = 'p4"ss/wörd+of\\mine'
TRANSPORTS = pytest.mark.parametrize("transport", ["unix", "tls"])


@TRANSPORTS
def test_only_named_variables_go_and_only_for_their_cell(new_user: NewUser, transport: str) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport, MY_TOKEN=SECRET, PLAIN_SETTING="x", PIP_INDEX_URL="https://u:p@h/simple")
    seen = "import os\nprint(sorted(n for n in ('MY_TOKEN', 'PLAIN_SETTING', 'PIP_INDEX_URL', 'PATH') if n in os.environ))"
    assert user.sees(f"%%remote\n{seen}") == "['PATH']\n"
    assert user.sees(f"%%remote secrets=MY_TOKEN\n{seen}") == "['MY_TOKEN', 'PATH']\n"
    assert user.sees(f"%%remote\n{seen}") == "['PATH']\n"
    name, text = user.is_told("%%remote secrets=NOT_SET\n1")
    assert name == "BadValue" and "NOT_SET" in text and "getpass" in text


def test_a_setting_names_them_for_every_cell(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_SECRETS="MY_TOKEN,NOT_SET_HERE", MY_TOKEN=SECRET)
    assert user.sees("%%remote\nimport os\nn = len(os.environ['MY_TOKEN'])\nprint(n)") == f"{len(SECRET)}\n"


@TRANSPORTS
def test_whatever_a_cell_shows_is_masked(new_user: NewUser, transport: str) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport, MY_TOKEN=SECRET)
    user.sees("import os")
    assert user.sees("%%remote secrets=MY_TOKEN\nt = os.environ['MY_TOKEN']\nprint(t)\nt") == "[MY_TOKEN]\n'[MY_TOKEN]'\n"
    assert user.has(f"t == {SECRET!r}")  # what comes home is the value itself
    user.sees("del t")
    split = "%%remote secrets=MY_TOKEN\nt = os.environ['MY_TOKEN']\nfor c in t: print(c, end='', flush=True)\nprint('|')\ndel t"
    assert user.sees(split) == "[MY_TOKEN]|\n"
    assert user.sees("%%remote secrets=MY_TOKEN\nprint('ends like it: ' + os.environ['MY_TOKEN'][:3])") == f"ends like it: {SECRET[:3]}\n"
    shown = user.sees(
        "%%remote secrets=MY_TOKEN\nimport sys, json, urllib.parse\nt = os.environ['MY_TOKEN']\n"
        "display({'text/html': f'<b>{t}</b>', 'text/plain': t}, raw=True)\nprint(json.dumps({'t': t}), [t], file=sys.stderr)\n"
        "print('https://h/?t=' + urllib.parse.quote(t, safe=''))\nprint('x' * 100_000 + t)\ndel t"
    )
    assert SECRET not in shown and "wörd" not in shown and "w%C3%B6rd" not in shown and shown.count("[MY_TOKEN]") == 5, shown[-300:]
    seen = user.types("%%remote secrets=MY_TOKEN\nraise ValueError('bad ' + os.environ['MY_TOKEN'])").outputs[-1]
    assert seen["evalue"] == "bad [MY_TOKEN]" and SECRET not in "".join(seen["traceback"])


@TRANSPORTS
def test_it_is_nowhere_else_on_the_worker(new_user: NewUser, meeting, transport: str) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport, MY_TOKEN=SECRET, OTHER_API_KEY="0therk3y-value")
    found: list[str] = []
    looked = 0

    def look(pid: int) -> None:
        nonlocal looked
        for process in [p for p in [psutil.Process(pid), *psutil.Process(pid).parents()] if is_worker(p)]:
            for name in ("cmdline", "environ"):
                data = Path(f"/proc/{process.pid}/{name}").read_bytes()
                found.extend(f"{name} of {process.pid}" for word in (SECRET, "0therk3y") if word.encode() in data)
                looked += 1
        for path in worker_folder(pid).rglob("*"):
            if path.is_file():
                found.extend(str(path) for word in (SECRET, "0therk3y") if word.encode() in path.read_bytes())
                looked += 1

    at = meeting(look)
    shown = user.sees(
        "%%remote secrets=MY_TOKEN\nimport os, sys\nprint(os.environ['MY_TOKEN'], file=sys.stderr)\n"
        f"os.system('printf %s\\\\n \"$MY_TOKEN\"')\nos.write(2, os.environ['MY_TOKEN'].encode())\n{at.cell}"
    )
    assert SECRET not in shown
    assert looked > 6 and not found


def test_what_looks_like_a_credential_stops_the_cell(new_user: NewUser) -> None:
    user = new_user()
    key = "AKIA" + "QWERTYUIOPASDFGH"
    user.sees(f"settings = {{'aws': {{'id': {key!r}}}}}\n\ndef client():\n    return {key!r}")
    name, text = user.is_told("%%remote\nlen(settings)")
    assert name == "LooksSecret" and "settings['aws']['id']" in text and "allow=settings" in text and key not in text
    assert not user.workers()
    assert user.sees("%%remote allow=settings\nlen(settings)") == "1\n"
    name, text = user.is_told("%%remote\nclient()")
    assert name == "LooksSecret" and "client" in text
    assert user.sees("%%remote allow=client\nlen(client())") == "20\n"
    name, text = user.is_told(f"%%remote\nx = 1\nkey = {key!r}")
    assert name == "LooksSecret" and "line 3" in text and "pragma" in text
    assert user.sees(f"%%remote\nlen({key!r})  # pragma: allowlist secret") == "20\n"
    user.sees("db_password = 'c0rrect-horse'")
    name, text = user.is_told("%%remote\nlen(db_password)")
    assert name == "LooksSecret" and "db_password" in text and "c0rrect" not in text
    assert user.sees("%%remote allow=db_password\nprint(db_password)") == "[db_password]\n"
    user.sees(f"def outer(k):\n    return lambda: len(k)\n\ninner = outer('AKIA' + {key[4:]!r})")
    name, text = user.is_told("%%remote\ninner()")
    assert name == "LooksSecret" and "inner" in text and "allow=inner" in text and key not in text
    assert user.sees("%%remote allow=inner\ninner()") == "20\n"
    user.sees(f"# the old one was {key}\ndef fine():\n    return 1")
    name, text = user.is_told("%%remote\nfine()")
    assert name == "LooksSecret" and "line 1 of the cell [" in text and "allow=fine" in text and key not in text
    assert user.sees("%%remote allow=fine\nfine()") == "1\n"
    name, text = user.is_told(f"%%remote\n1  # not {key} any more")
    assert name == "LooksSecret" and "line 2" in text and "pragma" in text


def test_files_with_credentials_in_them(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_LOCAL_FOLDER="own")
    key = "AKIA" + "QWERTYUIOPASDFGH"
    (user.folder / "config.json").write_text(f'{{"id": "{key}"}}')
    (user.folder / "data").mkdir()
    (user.folder / "data" / "notes.txt").write_text(key)
    (user.folder / "data" / "x.csv").write_text("a\n1\n")
    name, text = user.is_told("%%remote\nopen('config.json').read()")
    assert name == "LooksSecret" and "config.json" in text and "files=config.json" in text and key not in text
    shown = user.sees("%%remote\nimport os\nprint(sorted(os.listdir('data')))")
    assert "['notes.txt', 'x.csv']" in shown and "notes.txt was not sent" in shown
    name, text = user.is_told("%%remote\nopen('data/' + os.listdir('data')[-1])")
    assert name == "FileNotFoundError" and "credential" in text and key not in text
    assert user.sees("%%remote files=config.json\nprint(len(open('config.json').read()))") == "30\n"


def test_a_change_of_what_was_sent_before_is_looked_at_too(new_user: NewUser) -> None:
    user = new_user()
    user.sees("settings = {'a': {}}\ninner = settings['a']\nother = 1")
    user.sees("%%remote\nlen(settings)")
    user.sees("inner['password'] = 'hunter2-and-more'")
    name, text = user.is_told("%%remote\nother")
    assert name == "LooksSecret" and "inner['password']" in text and "allow=inner" in text and "hunter2" not in text
    assert user.sees("%%remote allow=inner\nother") == "1\n"
