"""A worker dies under a cell that says ``retry=``: the cell runs again with the same inputs, and its checkpoints are there."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent

import pytest

from cellferry.fleet.fleet import Fleet
from cellferry.link.http import WorkerHttp
from cellferry.testing.contract import eventually
from testbeds.far import Far, far

from .conftest import NewUser, User
from .stores import moto, s3
from .test_failures import FOREVER, Killer, everything, the_kernel, the_server
from .test_money import A100, STUBBORN, fleet, only_worker, payer

__all__ = ["far", "fleet", "moto", "payer", "s3"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def tries(tmp_path: Path) -> str:
    """The beginning of a cell that knows, by a file, which try it is: ``attempt``, from 1."""
    path = str(tmp_path / "tries")
    return f"with open({path!r}, 'a+') as file: file.write('x'); file.seek(0); attempt = len(file.read())\n"


def first_time(code: str) -> str:
    """``code``, for the first try alone."""
    return "if attempt == 1:\n" + indent(code, "    ") + "\n"


DIE = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.mark.parametrize("find", [the_kernel, the_server, everything], ids=["kernel", "server", "everything"])
def test_it_is_run_again_with_the_same_inputs(new_user: NewUser, meeting, tmp_path: Path, find) -> None:
    user = new_user()
    user.sees("before = [1, 2]\nalias = before\nuntouched = 'as it was'")
    killer = Killer(find)
    at = meeting(killer)
    body = f"{tries(tmp_path)}alias.append(3)\nprint('attempt', attempt, flush=True)\n{first_time(at.cell + FOREVER)}"
    shown = user.sees(f"%%remote retry=2\n{body}untouched = len(before)")
    assert "attempt 1\n" in shown and "attempt 2\n" in shown
    between = shown[shown.index("attempt 1\n") : shown.index("attempt 2\n")]
    assert "-- try 2 of 3" in between and "SIGKILL" in between
    assert user.has("(before, alias is before, untouched)") == ([1, 2, 3], True, 3), "changed once"
    assert (tmp_path / "tries").read_text() == "xx"
    assert user.sees("%%remote\nprint(before)").endswith("[1, 2, 3]\n")
    assert len(user.workers()) == 3, "one worker"


def test_not_more_often_than_it_says(new_user: NewUser, tmp_path: Path) -> None:
    user = new_user()
    name, text = user.is_told(f"%%remote retry=2\n{tries(tmp_path)}{DIE}")
    assert name == "KernelDied" and "SIGKILL" in text
    assert (tmp_path / "tries").read_text() == "xxx"
    name, text = user.is_told(f"%%remote\n{DIE}")
    assert "retry=" in text, "the advice names it"


def test_what_is_the_cells_own_fault_is_not_run_again(new_user: NewUser, tmp_path: Path) -> None:
    user = new_user()
    assert user.is_told(f"%%remote retry=3\n{tries(tmp_path)}1 / 0")[0] == "ZeroDivisionError"
    assert user.is_told(f"%%remote retry=3\n{tries(tmp_path)}raise KeyboardInterrupt")[0] == "KeyboardInterrupt"
    assert user.is_told("%%remote retry=3\nnot_there")[0] == "UndefinedName"
    assert (tmp_path / "tries").read_text() == "xx"


def test_memory_that_ran_out_is_told_and_tried_again(new_user: NewUser, meeting, little_memory, tmp_path: Path) -> None:
    user = new_user()
    at = meeting(little_memory)
    body = first_time(f"{at.cell}held = bytearray(b'x') * (512 << 20)")
    shown = user.sees(f"%%remote retry=1\n{tries(tmp_path)}{body}print('done in', attempt)")
    assert "memory" in shown and "was used up" in shown and "done in 2" in shown


def test_a_full_disk_on_the_worker_is_told(small_place: Path, new_user: NewUser) -> None:
    """The cell itself meets it as any program does; a worker that dies of it is told apart."""
    user = new_user(CELLFERRY_WORKER_DIR=str(small_place))
    fill = (
        f"with open({str(small_place / 'fill')!r}, 'wb', buffering=0) as file:\n    try:\n"
        "        while True: file.write(bytes(1 << 12))\n    except OSError: pass\n"
    )
    name, text = user.is_told(f"%%remote\n{fill}{DIE}")
    assert name == "DiskFull" and "->" in text, text
    (small_place / "fill").unlink()
    assert user.sees("%%remote\n'again'") == "'again'\n"


def test_a_cell_can_clean_up_a_full_disk(small_place: Path, new_user: NewUser) -> None:
    """On the space that the worker keeps for that; whoever uses it up is told what is wrong, not that values are."""
    user = new_user(CELLFERRY_WORKER_DIR=str(small_place))
    (user.folder / "beside.py").write_text("value = 'beside'\n")
    fill = (
        f"with open({str(small_place / 'fill')!r}, 'ab', buffering=0) as file:\n    try:\n"
        "        while True: file.write(bytes(1 << 12))\n    except OSError: pass\n"
    )
    user.sees(f"%%remote\nkept = 'there'\n{fill}")
    assert "worker's disk is full" in user.sees("%%remote\n!du -sh .")
    name, text = "", ""
    for _ in range(40):  # each of them takes a step of the reserve
        outputs = user.types(f"%%remote\n{fill}").outputs
        failed = [output for output in outputs if output["output_type"] == "error"]
        if failed:
            name, text = failed[-1]["ename"], failed[-1]["evalue"]
            break
    assert name == "DiskFull" and "worker" in text and "->" in text, text
    (small_place / "fill").unlink()
    assert "disk is full" not in user.sees("%%remote\nimport beside\nprint(beside.value, kept)")


def test_a_module_that_cannot_be_written_there_is_told_as_that(small_place: Path, new_user: NewUser) -> None:
    user = new_user(CELLFERRY_WORKER_DIR=str(small_place), CELLFERRY_LOCAL_FOLDER="own")
    (user.folder / "beside.py").write_text("value = 'beside'\n" + "# filler\n" * 30_000)
    user.sees(f"%%remote\nwith open({str(small_place / 'fill')!r}, 'wb', buffering=0) as file:\n    try:\n"
              "        while True: file.write(bytes(1 << 12))\n    except OSError: pass")  # fmt: skip
    assert user.is_told("%%remote\nimport beside")[0] == "DiskFull"
    (small_place / "fill").unlink()
    assert "beside" in user.sees("%%remote\nimport beside\nprint(beside.value)")


def test_a_worker_without_room_for_the_files_is_replaced(small_place: Path, new_user: NewUser) -> None:
    user = new_user(CELLFERRY_WORKER_DIR=str(small_place), CELLFERRY_LOCAL_FOLDER="own")
    (user.folder / "data.bin").write_bytes(bytes(3_000_000))
    fill = "with open('../../../fill', 'wb', buffering=0) as file: file.write(bytes(7_000_000))"
    user.sees(f"%%remote\n{fill}")
    words = "%%remote files=data.bin"
    cell = "import os\nos.stat('data.bin').st_size"
    name, text = user.is_told(f"{words}\n{cell}")
    assert name == "DiskFull" and "worker" in text
    shown = user.sees(f"{words} retry=1\n{cell}")
    assert "-- try 2 of 2, on a new worker 'default': no space is left" in shown and "3000000" in shown


@pytest.fixture
def short() -> Iterator[Path]:
    """A place for workers with a short path, as a unix socket's must be."""
    with tempfile.TemporaryDirectory(prefix="w") as place:
        yield Path(place)


@pytest.fixture
def small_place(short: Path) -> Iterator[Path]:
    """A file system of 8 MiB; needs root and a kernel that lets root mount."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(short)], capture_output=True)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield short
    subprocess.run(["umount", "-l", str(short)], check=True)


# -- checkpoints ------------------------------------------------------------------------------------------------------

COUNT = """import cellferry, time, os, signal
saved = cellferry.restored()
folder = cellferry.checkpoint_dir
step = saved.get('step', 0)
given.append(step)
log = (folder / 'log.txt').read_text() if (folder / 'log.txt').exists() else ''
print('begins at', step, sorted(saved), len(log) > 0, flush=True)
while step < 8:
    step += 1
    (folder / 'part').write_text(log + f'{step} ')
    os.replace(folder / 'part', folder / 'log.txt')
    log = (folder / 'log.txt').read_text()
    held = step
    while WAITING():
        time.sleep(0.01)
    if attempt == 1 and step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
print('ends at', step)
"""


def counting(tmp_path: Path, place: str) -> str:
    """A cell that dies on its first try after step 5, when step 5 is in a checkpoint (``place``: glob of the saved file)."""
    wait = (
        "import glob, zipfile, pickle\n"
        "def kept():\n"
        "    best = 0\n"
        f"    for path in glob.glob({place!r}):\n"
        "        try:\n"
        "            with zipfile.ZipFile(path) as archive: best = max(best, pickle.loads(archive.read('values/step.pkl')))\n"
        "        except Exception: pass\n"
        "    return best\n"
        # the first is said before the second is made, and so before the cell dies
        "def WAITING(): return attempt == 1 and (step == 1 and kept() < 1 or step == 5 and kept() < 5)\n"
    )
    return tries(tmp_path) + wait + COUNT


def test_a_retried_cell_goes_on_from_its_checkpoint_on_the_worker(new_user: NewUser, tmp_path: Path, short: Path) -> None:
    user = new_user(CELLFERRY_WORKER_DIR=str(short))
    user.sees("given = ['here']")
    place = str(short / "*" / "checkpoints" / "*" / "saved.zip")
    shown = user.sees(f"%%remote retry=1 checkpoint=0.2s\n{counting(tmp_path, place)}")
    assert "begins at 0 [] False" in shown and "survives the kernel, not the machine" in shown
    assert "begins at 5" in shown and "ends at 8" in shown, shown
    second = shown[shown.index("begins at 5") :].splitlines()[0]
    assert "'step'" in second and "'given'" in second and second.endswith("True")
    assert user.has("(given, step)") == (["here", 5], 8)
    assert not list((short).glob("*/checkpoints/*/saved.zip")), "nobody needs it any more"
    assert user.has("dict(saved)") == {} and user.has("folder.is_dir()") and "tmp" in user.has("str(folder)")


@pytest.mark.parametrize("server", ["s3", "moto", "file", "local"])
def test_a_fresh_worker_goes_on_from_the_store(new_user: NewUser, tmp_path: Path, short: Path, server: str, request) -> None:
    """``local://`` stands for what only fsspec knows."""
    (tmp_path / "shared").mkdir()
    url = "s3://bucket/p" if server in ("s3", "moto") else f"{server}://{tmp_path / 'shared'}"
    settings = request.getfixturevalue(server) if server in ("s3", "moto") else {}
    user = new_user(CELLFERRY_ARTIFACT_STORE=url, CELLFERRY_WORKER_DIR=str(short), **settings)
    user.sees("given = ['here']")
    user.sees(f"import cellferry.link.artifacts\ndef kept():\n    return sorted(cellferry.link.artifacts.open_store({url!r}).listing())")
    die = "print('stored', flush=True)\ntime.sleep(60)"
    cell = COUNT.replace("os.kill(os.getpid(), signal.SIGKILL)", die.replace("\n", "\n        "))
    cell = cell.replace("while WAITING()", "while attempt == 3")
    # whoever sees that step 5 is stored kills all of the worker
    watch = (
        "import threading, psutil, os, json, io, zipfile, pickle, tempfile\nfrom pathlib import Path\n"
        "import cellferry.link.artifacts\n"
        f"store = cellferry.link.artifacts.open_store({url!r})\n"
        "def read(name):\n"
        "    with tempfile.TemporaryDirectory() as place:\n"
        "        store.fetch(name, Path(place) / 'file', lambda n: None)\n"
        "        return (Path(place) / 'file').read_bytes()\n"
        "def newest():\n"
        "    try:\n"
        "        latest = next(name for name in store.listing() if name.endswith('latest.json'))\n"
        "        told = json.loads(read(latest))\n"
        "        data = read(latest.replace('latest.json', 'ab'[told['slot']] + '.zip'))\n"
        "        with zipfile.ZipFile(io.BytesIO(data)) as archive: return pickle.loads(archive.read('values/step.pkl'))\n"
        "    except Exception as exc: return 0\n"
        "def kill():\n"
        "    while newest() != 5: over.wait(0.1)\n"
        "    for each in reversed(psutil.Process().children(recursive=True)):\n"
        "        if any('cellferry' in word for word in each.cmdline()): each.kill()\n"
        "over = threading.Event()\nthreading.Thread(target=kill, daemon=True).start()"
    )
    user.sees(watch)
    shown = user.sees(f"%%remote retry=1 checkpoint=0.2s\n{tries(tmp_path)}{cell}")
    assert f"is in {url}/checkpoints/" in shown and "on a new worker" in shown
    assert "begins at 0 [] False" in shown and "begins at 5" in shown and "ends at 8" in shown, shown
    assert user.has("(given, step)") == (["here", 5], 8)
    assert user.has("kept()") == [], "removed when the cell came home"


def test_a_cell_that_died_is_run_again_by_hand(new_user: NewUser, tmp_path: Path, short: Path) -> None:
    user = new_user(CELLFERRY_WORKER_DIR=str(short))
    user.sees("given = []")
    place = str(short / "*" / "checkpoints" / "*" / "saved.zip")
    cell = f"%%remote checkpoint=0.2s checkpoint_names=step\n{counting(tmp_path, place)}"
    assert user.is_told(cell)[0] == "KernelDied"
    shown = user.sees(cell)
    assert "begins at 5 ['step'] True" in shown and user.has("(given, step)") == ([5], 8)


def test_torch_is_saved_as_torch_saves(new_user: NewUser, tmp_path: Path, short: Path) -> None:
    pytest.importorskip("torch")
    import io
    import zipfile

    import torch

    user = new_user(CELLFERRY_WORKER_DIR=str(short))
    place = str(short / "*" / "checkpoints" / "*" / "saved.zip")
    copy = tmp_path / "copy.zip"
    cell = f"""{tries(tmp_path)}import cellferry, glob, os, shutil, signal, time, torch, zipfile
def names():
    found = glob.glob({place!r})
    return zipfile.ZipFile(found[0]).namelist() if found else []
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
saved = cellferry.restored()
if not saved:
    torch.manual_seed(1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    state = {{'model': net.state_dict(), 'optimizer': optimizer.state_dict(), 'epoch': 3}}
    weights = torch.arange(4.0)
    while 'values/weights.pt' not in names(): time.sleep(0.02)
    shutil.copy(glob.glob({place!r})[0], {str(copy)!r})
    os.kill(os.getpid(), signal.SIGKILL)
net = saved['net']
same = net.layer.weight.tolist() == saved['state']['model']['layer.weight'].tolist()
result = (saved['state']['epoch'], float(saved['weights'].sum()), same)
del net, saved
"""
    user.sees(f"%%remote retry=1 checkpoint=0.2s\n{cell}")
    assert user.has("result") == (3, 6.0, True)
    with zipfile.ZipFile(copy) as archive:
        state = torch.load(io.BytesIO(archive.read("values/state.pt")), weights_only=True)
        assert state["epoch"] == 3 and state["model"]["layer.weight"].shape == (1, 2)
        assert torch.load(io.BytesIO(archive.read("values/weights.pt"))).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_loop_in_c_is_saved_as_well(new_user: NewUser, tmp_path: Path, short: Path) -> None:
    """A C call that lets go of the interpreter: the cell is not stopped, and what it had made is saved."""
    user = new_user(CELLFERRY_WORKER_DIR=str(short))
    cell = (
        f"{tries(tmp_path)}import cellferry, time\nif attempt == 2:\n    found = dict(cellferry.restored())\nelse:\n"
        "    x = {'made': [1]}\n    import threading, os, signal, glob\n"
        "    def end():\n"
        f"        while not glob.glob({str(short / '*' / 'checkpoints' / '*' / 'saved.zip')!r}): time.sleep(0.02)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    threading.Thread(target=end).start()\n"
        "    threading.Event().wait()\n"
    )
    user.sees(f"%%remote retry=1 checkpoint=0.2s checkpoint_names=x\n{cell}")
    assert user.has("found") == {"x": {"made": [1]}}


def test_at_home_there_is_nothing_to_restore(new_user: NewUser) -> None:
    user = new_user()
    assert user.sees("import cellferry\ncellferry.restored()") == "{}\n"
    user.sees("place = cellferry.checkpoint_dir\nnote = place / 'x.txt'\nnote.write_text('here')")
    assert user.has("cellferry.checkpoint_dir.is_dir()")
    shown = user.sees("%%remote\nprint(cellferry.restored(), place.is_dir(), note.exists(), place == cellferry.checkpoint_dir)")
    assert shown == "{} True False True\n", "the same place, at the other end"
    assert user.has("note.read_text()") == "here"


def test_signals_are_named(new_user: NewUser) -> None:
    user: User = new_user()
    name, text = user.is_told(f"%%remote\nimport os\nos.kill(os.getpid(), {int(signal.SIGTERM)})")
    assert name == "KernelDied" and "SIGTERM" in text and "variables are as they were" in text


@pytest.mark.parametrize("size", [10, 6_000_000], ids=["small", "bulk"])
def test_what_nobody_took_is_in_the_store_when_the_worker_is_gone(new_user: NewUser, s3: dict[str, str], tmp_path: Path, size: int) -> None:
    """What it has shown as well, as it would have been shown by the worker: without its secrets, and the middle cut out."""
    user = new_user(CELLFERRY_ARTIFACT_STORE="s3://bucket/p", MY_KEY="5ecret-of-the-cell", **s3)
    user.sees("given = [1]")
    shown = user.sees(
        f"%%remote detach secrets=MY_KEY\ngiven.append(2)\nmade = {{'data': bytearray(b'x' * {size})}}\nimport os, sys\n"
        "print('begun with', os.environ['MY_KEY'][:8], end='')\nprint(os.environ['MY_KEY'][8:], flush=True)\n"
        "print('to stderr', file=sys.stderr, flush=True)\nfor n in range(24): print(n, '.' * (1 << 20), flush=True)\n"
        "display({'text/plain': 'a figure', 'image/png': 'aGk='}, raw=True)\nlen(made['data'])"
    )
    run = re.search(r"%remote attach ([0-9a-f]{12})", shown)
    assert run is not None
    place = tmp_path / "s3" / "bucket" / "p" / "results" / run[1]
    eventually(lambda: (place / "seal").exists(), "its results are stored", 60)
    kept = (place / "outputs").read_bytes()
    assert b"5ecret-o" not in kept and b"f-the-cell" not in kept and len(kept) < 17 << 20
    user.sees("%remote down --all")
    shown = user.sees(f"%remote attach {run[1]}")
    assert "was kept in s3://bucket/p" in shown and "begun with [MY_KEY]\n" in shown and "to stderr" in shown
    assert "outputs were cut here" in shown and f"23 {'.' * 100}" in shown and "a figure" in shown, shown[:500]
    assert user.has("(given, len(made['data']))") == ([1, 2], size) and not list(place.glob("*"))
    assert user.is_told(f"%remote attach {run[1]}")[0] == "RunGone"


def test_orders_for_the_store_are_renewed_in_time(new_user: NewUser, s3: dict[str, str]) -> None:
    """Those of the beginning are too old before the cell ends."""
    user = new_user(CELLFERRY_ARTIFACT_STORE="s3://bucket/p", **s3)
    user.sees("import cellferry.again as again, cellferry.link.store_s3 as store\nagain.RENEW_S, store.LEFT_S = 0.5, 3")
    shown = user.sees(
        "%%remote checkpoint=0.3s checkpoint_names=step\nimport time\n"
        "saver = get_ipython().kernel.door.running.cells.saver\nfirst, step, began = saver._told['slots'], 0, time.time()\n"
        "while time.time() < began + 5 or saver.made < step: time.sleep(0.1)\n"
        "step = 1\nmade = saver.made\nwhile saver.made == made: time.sleep(0.05)\n"
        "print(saver._told['slots'] != first, 'X-Amz-Expires=3&' in first[0]['put'])\ndel saver"
    )
    assert "True True\n" in shown and "not saved" not in shown, shown


# -- machines that cost (simulated) money, and the watchdog -----------------------------------------------------------

NOTICE = """import json, os, time
from pathlib import Path
folder = next(place for place in Path.cwd().parents if (place / 'worker.json').exists())
told = {'what': '(simulated) spot interruption', 'at_unix_s': time.time() + 12}
(folder / 'notice.part').write_text(json.dumps(told))
os.replace(folder / 'notice.part', folder / 'notice')
while True:
    given.append(len(given))
    time.sleep(0.05)
"""


def test_a_machine_that_is_taken_back_is_replaced(
    payer: Callable[..., User], fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    user = payer(CELLFERRY_ARTIFACT_STORE=f"file://{tmp_path / 'shared'}")
    user.sees("given = []")
    words = f"{A100} spot budget=1 retry=1 checkpoint=0.3s"
    shown = user.sees(
        f"{words}\n{tries(tmp_path)}import cellferry\nfound = len(cellferry.restored().get('given', []))\n{first_time(NOTICE)}"
        "print('second')"
    )
    assert "the machine is gone in" in shown and "-- try 2 of 2, on a new worker 'default'" in shown and "second" in shown
    assert user.has("given") == [], "what the first try had changed was not taken"
    assert user.has("found") > 10, "but it was saved"
    rows = fleet.purse.costs("worker")
    assert sum(row.runs for row in rows) == 2
    worker = only_worker(fleet)
    row = fleet.purse.ledger.get(worker.token)
    assert row is not None
    first = sum(r.machine_microusd for r in rows) - row.spent_microusd
    assert row.reserved_microusd + first <= 1_000_000
    assert row.reserved_microusd < 1_000_000, "what the first machine came to is not to be spent again"
    assert [path for path in (tmp_path / "shared").rglob("*") if path.is_file()] == []


def test_what_ends_for_want_of_money_is_not_started_again(payer: Callable[..., User], fleet: Fleet, tmp_path: Path) -> None:
    user = payer(CELLFERRY_BUDGET="5")
    user.sees(f"{A100}\n1")
    name, text = user.is_told(f"{A100} budget=0.02 retry=3\n{tries(tmp_path)}{STUBBORN}")  # about 3 s
    assert name == "KernelDied" and "did not listen to interrupts" in text and "limit" in text
    assert (tmp_path / "tries").read_text() == "x"
    told = WorkerHttp(only_worker(fleet).endpoint, timeout_s=60).get("status")["decisions"]
    steps = [line["decision"] for line in told]
    assert steps.index("interrupt") < steps.index("terminate") < steps.index("kernel ended")
    assert user.sees(f"{A100}\n'goes on'").startswith("'goes on'"), "the worker lives"


def test_it_is_run_again_over_ssh(new_user: NewUser, far: Far, tmp_path: Path) -> None:
    settings, known = far.configuration(tmp_path)
    user = new_user(
        CELLFERRY_SSH_CONFIG=str(settings), CELLFERRY_SSH_KNOWN_HOSTS=str(known), CELLFERRY_STATE_DIR=str(tmp_path / "state"),
        CELLFERRY_START_TIMEOUT_S="60",
    )  # fmt: skip
    user.sees("given = [1]\nfirst = None")
    cell = """given.append(2)
import os, signal, time
from pathlib import Path
import cellferry
folder = next(place for place in Path.cwd().parents if (place / 'worker.json').exists())
mark = folder.parent / 'mark-of-the-test'
place = cellferry.checkpoint_dir
if not mark.exists():
    mark.write_text('')
    def parents(pid):
        while pid > 1:
            pid = int(Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1])
            words = Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\\0')
            if b'cellferry.worker' in words:
                yield pid
    ours = list(parents(os.getpid()))
    for pid in reversed(ours):
        os.kill(pid, signal.SIGKILL)
    time.sleep(60)
mark.unlink()
result = sorted(cellferry.restored()), place.is_dir()
"""
    shown = user.sees(f"%%remote host=box retry=1\n{cell}")
    assert "-- try 2 of 2, on a new worker 'default'" in shown
    assert user.has("(given, result)") == ([1, 2], ([], True))
    user.sees("%remote down --all")
    eventually(lambda: not [p for p in map(str, far.host.processes()) if "cellferry" in p], "nothing is left there")
