"""Files between the notebook's folder and the worker's working directory: chosen, sent in part, cut, taken up again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import NewUser, User
from .kernel import kernel

MIB = 1 << 20
SENT = "getattr(get_ipython(), '_cellferry').last_report.sent_bytes"
OWN = {"CELLFERRY_LOCAL_FOLDER": "own"}
"""The isolated folder stands in for that of a worker elsewhere: files travel to and from it."""
LINK = "next(iter(getattr(get_ipython(), '_cellferry').session._there.values())).link"


@pytest.fixture(scope="module", params=["unix", "tls"])
def user(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    folder = tmp_path_factory.mktemp(request.param) / "work"
    folder.mkdir()
    with kernel(folder, {"CELLFERRY_LOCAL_TRANSPORT": request.param, **OWN}) as found:
        yield User(found, folder)


def _random(path: Path, size: int) -> bytes:
    data = os.urandom(size)
    path.write_bytes(data)
    return data


def test_a_changed_file_sends_only_what_changed(user: User) -> None:
    data = bytearray(_random(user.folder / "big.bin", 20 * MIB + 5))
    cell = "%%remote returns=\nimport hashlib\nprint(hashlib.sha256(open('big.bin', 'rb').read()).hexdigest())"
    first = user.sees(cell)
    assert user.has(SENT) > 20 * MIB
    assert user.sees(cell) == first and user.has(SENT) < 100_000
    data[7 * MIB + 3] ^= 1
    (user.folder / "big.bin").write_bytes(data)
    assert user.sees(cell) != first and MIB <= user.has(SENT) < 2 * MIB
    (user.folder / "big.bin").touch()
    user.sees(cell)
    assert user.has(SENT) < 100_000, "only its time has changed: the worker was asked"
    (user.folder / "big.bin").write_bytes(data[: 3 * MIB])
    assert user.sees("%%remote returns=\nimport os\nos.path.getsize('big.bin')") == f"{3 * MIB}\n"
    assert user.has(SENT) < 100_000


def test_a_file_that_grew_there_brings_only_what_is_new(user: User) -> None:
    data = _random(user.folder / "grows.bin", 12 * MIB)
    user.sees("%%remote returns=\nwith open('grows.bin', 'ab') as file: file.write(b'x' * 10)\nNone")
    assert (user.folder / "grows.bin").read_bytes() == data + b"x" * 10
    user.has(f"globals().__setitem__('before', {LINK}._channel.received_bytes)")
    user.sees("%%remote returns=\nwith open('grows.bin', 'r+b') as file: file.write(b'y')\nNone")
    assert (user.folder / "grows.bin").read_bytes() == b"y" + data[1:] + b"x" * 10
    assert user.has(f"{LINK}._channel.received_bytes - before") < 2 * MIB


def test_many_small_files_and_empty_ones_and_modes(user: User) -> None:
    many = user.folder / "many"
    many.mkdir()
    for number in range(700):
        (many / f"{number}.txt").write_text(str(number) if number else "")
    (many / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (many / "run.sh").chmod(0o755)
    told = user.sees("%%remote files=many/*\nimport os, subprocess\nprint(sum(len(open(f'many/{n}.txt').read()) for n in range(700)))"
                     "\nprint(subprocess.run(['many/run.sh'], capture_output=True, text=True).stdout)")  # fmt: skip
    assert told.split() == [str(sum(len(str(n)) for n in range(1, 700))), "ran"]
    user.sees("%%remote\nos.mkdir('back')\nfor n in range(700): open(f'back/{n}.txt', 'w').write(str(n) if n else '')")
    assert sum(int(path.read_text() or 0) for path in (user.folder / "back").iterdir()) == sum(range(700))
    assert not list(user.folder.rglob("*cellferry-part"))


def test_a_path_above_the_notebook_is_there_too(user: User) -> None:
    above = user.folder.parent / "data"
    above.mkdir(exist_ok=True)
    (above / "x.csv").write_text("above")
    assert user.sees("%%remote\nopen('../data/x.csv').read()") == "'above'\n"
    assert user.sees("%%remote files=../data/*.csv\nimport os\nos.listdir('..' + '/data')") == "['x.csv']\n"
    assert user.is_told("%%remote files=/etc/hosts\n1")[0] == "BadValue"


def test_secrets_stay_and_are_told(user: User) -> None:
    (user.folder / ".env").write_text("TOKEN=1")
    (user.folder / "server.txt").write_text("-----BEGIN PRIVATE" + " KEY-----\n")
    told = user.sees("%%remote\nimport os\nnames = '.env', 'server.txt'\n[os.path.exists(name) for name in names]")
    assert "[False, False]" in told and told.count("never travel") == 2
    name, text = user.is_told("%%remote files=.env\n1")
    assert name == "BadValue" and "never travels" in text
    assert user.is_told("%remote put server.txt")[0] == "BadValue"


def test_ignored_files_go_when_asked_for(user: User) -> None:
    (user.folder / ".gitignore").write_text("ignored/\n")
    (user.folder / "ignored").mkdir()
    (user.folder / "ignored" / "x.csv").write_text("here")
    name, _text = user.is_told("%%remote\nopen('ignored/x.csv').read()")
    assert name == "FileNotFoundError"
    told = user.sees("%%remote\n'ignored/x.csv'")
    assert "files=ignored/x.csv" in told
    assert user.sees("%%remote files=ignored/x.csv\nopen('ignored/x.csv').read()") == "'here'\n"
    (user.folder / "ignored" / "x.csv").write_text("new")
    assert user.sees("%%remote\nopen('ignored/x.csv').read()") == "'new'\n", "both sides have it now"


def test_over_the_limit_there_are_three_ways(new_user: NewUser) -> None:
    user = new_user(**OWN, CELLFERRY_FILE_LIMIT="1000")
    for number in range(7):
        (user.folder / f"{number}.bin").write_bytes(bytes(1000 + number))
    name, text = user.is_told(
        "%%remote\n[open(n, 'rb') for n in ('0.bin', '1.bin', '2.bin', '3.bin', '4.bin', '5.bin', '6.bin')]"
    )
    assert name == "PreflightError"
    assert "6.bin" in text and "2.bin" in text and "1.bin" not in text, "the five largest"
    assert "files=6.bin" in text and "%remote put 6.bin" in text and "URL" in text
    assert user.sees("%%remote files=6.bin\nlen(open('6.bin', 'rb').read())") == "1006\n"
    user.sees("%remote put 5.bin")
    assert user.sees("%%remote\nlen(open('5.bin', 'rb').read())") == "1005\n"


CUT = """
import cellferry.link.chunked as chunked
class Cut(chunked.Coming):
    def write(self, at, data):
        super().write(at, data)
        if at >= 16 << 20:
            LINK._channel.close()
whole, chunked_files = chunked.Coming, __import__('cellferry.link.arriving', fromlist=['x'])
chunked_files.Coming = Cut
""".replace("LINK", LINK)


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_get_goes_on_where_a_cut_link_stopped(new_user: NewUser, transport: str) -> None:
    user = new_user(**OWN, CELLFERRY_FILE_LIMIT="1000", CELLFERRY_LOCAL_TRANSPORT=transport, CELLFERRY_GRACE_S="60")
    user.sees("%%remote\nimport os\ndata = os.urandom(40 << 20)\nopen('large.bin', 'wb').write(data)\nNone")
    user.sees(CUT)
    assert user.is_told("%remote get large.bin")[0] == "WorkerLost"
    part = user.folder / ".large.bin.cellferry-part"
    assert 16 * MIB < part.stat().st_size < 40 * MIB and not (user.folder / "large.bin").exists()
    user.sees("chunked_files.Coming = whole")
    user.sees("%remote get large.bin")
    assert (user.folder / "large.bin").stat().st_size == 40 * MIB and not part.exists()
    assert user.has(f"{LINK}._channel.received_bytes") < 25 * MIB
    assert user.sees("%%remote\nopen('large.bin', 'rb').read() == data") == "True\n"
    assert user.has("open('large.bin', 'rb').read() == data")


def test_a_send_that_was_cut_goes_on(new_user: NewUser) -> None:
    # a local worker ends five seconds after its last connection; on a busy machine, coming back may take longer
    user = new_user(**OWN, CELLFERRY_LOCAL_TRANSPORT="tls", CELLFERRY_GRACE_S="60")
    data = _random(user.folder / "large.bin", 40 * MIB)
    user.sees("%%remote\n1")
    user.sees(
        "import cellferry.link.chunked as chunked\nadd = chunked._Sending.add\n"
        "def cut(self, name, at, size, file):\n    if at >= 20 << 20: self._link._channel.close()\n"
        "    return add(self, name, at, size, file)\nchunked._Sending.add = cut"
    )
    assert user.is_told("%%remote\nopen('large.bin')")[0] == "WorkerLost"
    user.sees("chunked._Sending.add = add")
    assert user.sees("%%remote returns=\nlen(open('large.bin', 'rb').read())") == f"{len(data)}\n"
    assert user.has(SENT) < 34 * MIB  # what was on its way when the link was closed here did not arrive


def test_get_lists_what_is_there_when_the_name_is_unknown(user: User) -> None:
    user.sees("%%remote\nopen('there.txt', 'w').write('x')\nNone")
    name, text = user.is_told("%remote get their.txt")
    assert name == "BadValue" and "there.txt (1 B, default)" in text
    assert "there.txt" in user.sees("%remote get the*.txt")


def test_a_slow_transfer_shows_how_far_it_is(user: User) -> None:
    user.sees("import cellferry.link.progress as progress\nprogress._PATIENCE_S = progress._STEP_S = 0.0")
    _random(user.folder / "slow.bin", 9 * MIB)
    outputs = user.types("%%remote files=slow.bin\nopen('slow.bin', 'rb').close()").outputs
    user.sees("progress._PATIENCE_S, progress._STEP_S = 0.5, 0.2")
    shown = [output for output in outputs if output["output_type"] == "display_data"]
    assert len(shown) == 1 and shown[0]["data"]["text/plain"] == "", "one display, empty at the end"


def test_the_line_of_a_slow_transfer_in_a_notebook() -> None:
    """As messages, for a saved notebook shows only the last of them."""
    from cellferry.jupyter.relay import KernelScreen

    sent: list[tuple[str, str, str]] = []

    class Screen(KernelScreen):
        def _show(self, data: dict[str, str], kind: str = "", transient: dict[str, str] | None = None) -> None:
            sent.append((data["text/plain"], kind, (transient or {})["display_id"]))

    screen = object.__new__(Screen)
    screen._bar = ""
    for text in ("a", "b", "", "c", ""):
        screen.progress(text)
    new, changed = "display_data", "update_display_data"
    assert [(text, kind) for text, kind, _display in sent] == [
        ("a", new), ("b", changed), ("", changed), ("c", new), ("", changed)
    ]  # fmt: skip
    assert sent[0][2] == sent[2][2] != sent[3][2]


def _peak(pid: int, reset: bool = False) -> int:
    """Peak resident memory of a process in bytes, without pages of files; ``reset`` begins anew."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(fields["VmHWM"].split()[0]) << 10


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_a_file_of_4_gib_takes_little_memory_on_either_side(new_user: NewUser, transport: str) -> None:
    folder = Path(f"/tmp/cf-big-{os.getpid()}")
    folder.mkdir(mode=0o700)
    try:
        user = new_user(**OWN, CELLFERRY_LOCAL_TRANSPORT=transport, CELLFERRY_WORKER_DIR=str(folder))
        pids = [user.has("__import__('os').getpid()"), int(user.sees("%%remote\nimport os\nos.getpid()"))]
        before = [_peak(pid, reset=True) for pid in pids]
        user.sees("%%remote\nwith open('huge.bin', 'wb') as file:\n    file.truncate(4 << 30)\n    file.seek(1 << 31)\n"
                  "    file.write(b'middle')")  # fmt: skip
        user.sees("%remote get huge.bin")
        assert [_peak(pid) - was < 64 * MIB for pid, was in zip(pids, before, strict=True)] == [True, True]
        huge = user.folder / "huge.bin"
        with huge.open("rb") as file:
            file.seek(1 << 31)
            assert file.read(6) == b"middle" and huge.stat().st_size == 4 << 30
        user.sees("%%remote\nos.remove('huge.bin')")
        huge.touch()
        before = [_peak(pid, reset=True) for pid in pids]
        assert user.sees("%%remote files=huge.bin\nos.path.getsize('huge.bin')").strip() == f"{4 << 30}"
        assert [_peak(pid) - was < 64 * MIB for pid, was in zip(pids, before, strict=True)] == [True, True]
        huge.unlink()
        user.sees("%remote down --all")
    finally:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
