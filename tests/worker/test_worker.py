"""The worker's processes: started, used, ended in every way. Each test runs on both transports."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from cellferry.errors import LinkError
from cellferry.model import PROTOCOL

Wait = Callable[..., Any]


def test_a_worker_starts_and_its_kernel_answers(start: Any, wait: Wait) -> None:
    bench = start()
    line = bench.link()
    pid = int(line.ask("pid"))
    assert psutil.Process(pid).ppid() == bench.server.pid
    assert os.getpgid(pid) == pid, "the kernel has its own process group"
    assert line.ask("cwd") == str(bench.folder / "work")
    status = bench.http.get("status")
    assert status["worker_id"] == bench.worker.id and status["protocol"] == PROTOCOL
    assert status["kernel"]["pid"] == pid and status["kernel"]["generation"] == 1
    assert status["kernel"]["state"] == "running" and status["kernel"]["exitcode"] is None
    assert status["work"] == str(bench.folder / "work") and status["disk_free_bytes"] > 0
    wait(lambda: bench.lease()["links"] == 1)
    assert set((bench.folder / "phase").read_text().split()) == {"python", "listening", "kernel", "server"}
    line.close()
    wait(lambda: bench.lease()["links"] == 0)


def test_the_http_server_comes_when_it_is_asked_for(start: Any, wait: Wait) -> None:
    """On this machine. Cells do without it; and a start that fails costs whoever asked his answer, nobody a variable."""
    bench = start(grace_s=60.0)
    pid = bench.link().ask("pid")
    wait(lambda: "kernel" in (bench.folder / "phase").read_text().split())
    before = bench.server.memory_info().rss
    (bench.folder / "work").rename(bench.folder / "elsewhere")  # Jupyter Server refuses to start without it
    with pytest.raises(LinkError):
        bench.http.get("status")
    assert "server" not in (bench.folder / "phase").read_text().split()
    (bench.folder / "elsewhere").rename(bench.folder / "work")
    assert str(bench.http.get("status")["kernel"]["pid"]) == bench.link().ask("pid") == pid
    assert bench.server.memory_info().rss > before + (10 << 20), "it is most of this process"


def test_many_clients_at_once(shared: Any) -> None:
    bench = shared
    lines = [bench.link() for _ in range(20)]
    assert {line.ask("pid") for line in lines} == {lines[0].ask("pid")}
    for line in lines:
        line.close()


def test_the_folder_is_private_and_holds_all_files(shared: Any) -> None:
    bench = shared
    bench.http.get("status")
    assert stat.S_IMODE(bench.folder.stat().st_mode) & 0o777 == 0o700
    for path in bench.folder.rglob("*"):
        if not path.is_symlink() and (path.suffix in (".key", ".sock", ".log") or path.name.endswith(".json")):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_no_secret_on_a_command_line_or_in_the_environment(shared: Any) -> None:
    bench = shared
    bench.link().close()
    secrets = [bench.folder.joinpath("kernel.json").read_text().split('"key": "')[1].split('"')[0]]
    secrets += [path.read_text().splitlines()[1] for path in bench.folder.rglob("*.key")]
    for process in bench.everything():
        said = " ".join(process.cmdline()) + str(process.environ())
        assert "PRIVATE KEY" not in said
        assert not any(secret in said for secret in secrets)


def test_nothing_listens_beyond_the_one_door(shared: Any, transport: str) -> None:
    bench = shared
    bench.http.get("status")
    listening = [c for p in bench.everything() for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    udp = [c for p in bench.everything() for c in p.net_connections("udp")]
    assert udp == []
    if transport == "unix":
        assert listening == []
    else:
        assert {(c.laddr.ip, c.laddr.port) for c in listening} == {("127.0.0.1", bench.worker.endpoint.port)}


def test_nothing_of_the_users_jupyter_is_read_or_written(
    start: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "jupyter_server_config.py").write_text("raise SystemExit('the configuration was read')\n")
    for variable in ("config", "data", "runtime"):
        monkeypatch.setenv(f"JUPYTER_{variable.upper()}_DIR", str(tmp_path / variable))
    monkeypatch.setenv("JUPYTER_TOKEN", "of-another-server")
    bench = start()
    assert bench.http.get("status")["kernel"]["state"] == "running"
    assert not (tmp_path / "runtime").exists()
    assert [path.name for path in (tmp_path / "config").iterdir()] == ["jupyter_server_config.py"]


def test_jupyters_own_routes_list_the_kernel(shared: Any, wait: Wait) -> None:
    bench = shared
    kernels = wait(lambda: bench.http.get("/api/kernels")["items"], "the kernel is listed")
    assert [kernel["id"] for kernel in kernels] == [bench.worker.id]
    assert list(bench.http.get("/api/kernelspecs")["kernelspecs"]) == ["cellferry-guest"]


# -- the kernel ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "exitcode", "signame"), [("exit", 3, None), ("kill", None, "SIGKILL")])
def test_a_dead_kernel_is_noted_and_replaced(
    start: Any, wait: Wait, ended: Wait, how: str, exitcode: int | None, signame: str | None
) -> None:
    bench = start()
    line = bench.link()
    pid = int(line.ask("pid"))
    left = [psutil.Process(int(line.ask(word))) for word in ("spawn", "daemon")]
    line.ask("say", "last", "words")
    if how == "exit":
        line.tell("exit", 3)
    else:
        os.kill(pid, signal.SIGKILL)
    kernel = wait(lambda: (k := bench.kernel())["generation"] == 2 and k["ready"] and k, "a second kernel")
    assert (kernel["exitcode"], kernel["signal"], kernel["oom"]) == (exitcode, signame, False)
    assert kernel["ended_generation"] == 1 and not kernel["asked"]
    assert kernel["log_tail"] == "last words\n"
    with pytest.raises(OSError):
        line.ask("pid")
    assert int(bench.link().ask("pid")) == kernel["pid"] != pid
    ended(left, "what the dead kernel had started")


def test_a_connection_made_while_the_kernel_is_dead_gets_the_next_one(start: Any) -> None:
    bench = start()
    line = bench.link()
    pid = int(line.ask("pid"))
    line.tell("exit", 1)
    while True:  # each connection is answered by the next kernel, or ended if the dying one had it already
        try:
            answer = int(bench.link().ask("pid"))
        except OSError:
            continue
        if answer != pid:
            break


def test_a_connection_that_a_dying_kernel_never_took_gets_the_next_one(start: Any) -> None:
    bench = start()
    pid = int(bench.link().ask("pid"))
    os.kill(pid, signal.SIGSTOP)  # what is handed to it now, it will not take
    with ThreadPoolExecutor(3) as clients:
        asked = [clients.submit(lambda: int(bench.link().ask("pid"))) for _ in range(3)]
        for _ in range(3):
            assert bench.kernel()["pid"] == pid  # the door is one for all: who came before was let in before
        os.kill(pid, signal.SIGKILL)
        answers = {each.result(60) for each in asked}
    assert answers == {bench.kernel()["pid"]} != {pid}


def test_restart_ends_the_kernel_and_what_it_started(start: Any, ended: Wait) -> None:
    bench = start()
    line = bench.link()
    before = [psutil.Process(int(line.ask(word))) for word in ("pid", "spawn", "daemon")]
    assert bench.http.post("kernel/restart") == {"generation": 2}
    ended(before)
    assert bench.kernel()["asked"]
    assert int(bench.link().ask("pid")) != before[0].pid


def test_interrupt_reaches_the_kernels_group(shared: Any, wait: Wait) -> None:
    bench = shared
    line = bench.link()
    child = psutil.Process(int(line.ask("spawn")))
    assert bench.http.post("kernel/interrupt") == {}
    wait(lambda: "interrupted" in (bench.folder / "kernel.log").read_text())
    wait(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "SIGINT ended the child")
    assert bench.kernel()["generation"] == 1


def test_a_kernel_that_never_starts_is_given_up(start: Any, wait: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFERRY_STANDIN_EXIT", "7")
    bench = start()
    kernel = wait(lambda: (k := bench.kernel())["state"] == "dead" and k, "given up")
    assert kernel["exitcode"] == 7 and kernel["generation"] == 3
    assert kernel["log_tail"] == "the stand-in was told to end\n"
    with pytest.raises(OSError):
        bench.link().ask("pid")
    assert bench.http.post("kernel/restart")["generation"] == 4


def test_the_kernel_is_the_one_to_go_when_memory_runs_out(shared: Any, wait: Wait) -> None:
    bench = shared
    score = Path(f"/proc/{int(bench.link().ask('pid'))}/oom_score_adj")
    assert int(score.read_text()) > int(Path(f"/proc/{bench.server.pid}/oom_score_adj").read_text())


@pytest.fixture
def small_cgroup() -> Any:
    """A memory control group of 64 MiB, where this machine allows one to be made."""
    parent = Path("/sys/fs/cgroup/memory")
    group = parent / f"cellferry-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory control group can be made here: {error}")
    (group / "memory.limit_in_bytes").write_text(str(64 << 20))
    yield group
    deadline = time.monotonic() + 10
    while group.exists() and time.monotonic() < deadline:
        try:
            group.rmdir()
        except OSError:  # its last process is being taken apart
            os.sched_yield()


def test_out_of_memory_is_told_apart(start: Any, wait: Wait, small_cgroup: Path) -> None:
    bench = start()
    line = bench.link()
    (small_cgroup / "cgroup.procs").write_text(line.ask("pid"))
    line.tell("eat", 200)
    kernel = wait(lambda: (k := bench.kernel())["generation"] == 2 and k, "the kernel was killed and replaced")
    assert kernel["signal"] == "SIGKILL" and kernel["oom"]


# -- the end ------------------------------------------------------------------------------------------------------


def family(bench: Any) -> list[psutil.Process]:
    """The worker's processes with children of its kernel in the group, outside the session, and orphaned."""
    line = bench.link()
    children = [psutil.Process(int(line.ask(word))) for word in ("spawn", "daemon")]
    line.close()
    return [*bench.everything(), *children]


def test_stop_by_its_route(start: Any, ended: Wait) -> None:
    bench = start()
    processes = family(bench)
    assert bench.http.post("stop") == {}
    ended(processes)
    assert not (bench.folder / "worker.sock").exists()


@pytest.mark.parametrize("victim", ["keeper", "server", "keeper's group", "keeper politely", "server politely"])
def test_whichever_is_killed_all_end(start: Any, ended: Wait, victim: str) -> None:
    bench = start()
    processes = family(bench)
    server = bench.server.pid
    match victim:
        case "keeper":
            os.kill(bench.keeper.pid, signal.SIGKILL)
        case "server":
            os.kill(server, signal.SIGKILL)
        case "keeper's group":
            os.killpg(bench.keeper.pid, signal.SIGKILL)
        case "keeper politely":
            os.kill(bench.keeper.pid, signal.SIGTERM)
        case "server politely":
            os.kill(server, signal.SIGTERM)
    ended(processes, f"all after: {victim}")


def test_a_kernel_that_ignores_sigterm_ends_too(start: Any, ended: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFERRY_STANDIN_STUBBORN", "1")
    bench = start()
    processes = family(bench)
    bench.provider.stop(bench.worker)
    ended(processes)


def test_it_ends_when_its_folder_disappears(start: Any, ended: Wait) -> None:
    bench = start()
    processes = family(bench)
    shutil.rmtree(bench.folder)
    ended(processes)
    assert not bench.folder.exists()


def test_it_ends_when_idle_and_not_before(start: Any, wait: Wait, ended: Wait) -> None:
    bench = start(idle_s=0.3)
    processes = family(bench)
    line = bench.link()
    line.ask("run")
    line.close()
    wait(lambda: bench.lease()["links"] == 0)
    assert bench.lease()["busy"] and bench.lease()["ends_in_s"] is None, "a running cell keeps it"
    line = bench.link()
    line.ask("done")
    line.close()
    ended(processes)
    assert not bench.folder.exists(), "nobody is left to remove it"


def test_an_embedded_one_ends_with_its_client_even_if_a_cell_runs(start: Any, ended: Wait) -> None:
    bench = start(idle_s=600, grace_s=0.2)
    processes = family(bench)
    line = bench.link()
    line.ask("run")
    line.close()
    ended(processes)
    assert not bench.folder.exists()


CLIENT = """
import socket, sys
from cellferry.config import Cellferry
from cellferry.link.identity import client_context, make_identity
from cellferry.model import CellRequest, Lease, Order
from cellferry.providers.local import LocalProvider
LocalProvider.kernel_module = "standin_guest"
provider = LocalProvider(Cellferry(local_transport={transport!r}), lambda f: make_identity(f).cert_pem)
worker = provider.start(Order(CellRequest(), "default", Lease(600, 0.2)), lambda s: None)
if worker.endpoint.kind == "tls":
    line = socket.create_connection((worker.endpoint.host, worker.endpoint.port))
    line = client_context(worker.endpoint).wrap_socket(line)
else:
    line = socket.socket(socket.AF_UNIX)
    line.connect(worker.endpoint.path)
    line.sendall(b"CFRY")
line.sendall(b"spawn\\n")
print(worker.folder, worker.pid, line.recv(100).decode().strip(), flush=True)
sys.stdin.read()
"""


def test_it_ends_when_the_client_is_killed(transport: str, ended: Wait) -> None:
    code = CLIENT.format(transport=transport)
    client = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin is not None and client.stdout is not None
    with client:
        folder, pid, child = client.stdout.readline().split()
        keeper = psutil.Process(int(pid))
        processes = [keeper, *keeper.children(recursive=True), psutil.Process(int(child))]
        client.kill()
    ended(processes)
    assert not Path(folder).exists()


def test_it_ends_while_its_server_is_stuck(
    start: Any, ended: Wait, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server whose main thread hangs for ever: the kernel works, and the lease ends all of it."""
    (tmp_path / "jupyter_server.py").write_text("import select\nwhile True: select.select([], [], [])\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parent}")
    ended(family(start(grace_s=0.2)))


def test_a_stopped_server_process_does_not_hold_up_the_end(start: Any, ended: Wait) -> None:
    bench = start()
    processes = family(bench)
    os.kill(bench.server.pid, signal.SIGSTOP)
    bench.provider.stop(bench.worker)
    ended(processes)


@pytest.mark.parametrize("how", ["stubborn", "stopped"])
def test_a_kernel_over_its_cells_limit_is_ended(start: Any, wait: Wait, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """One that ignores the polite signals, and one that cannot even see them."""
    monkeypatch.setenv("CELLFERRY_STANDIN_STUBBORN", "1")
    bench = start()
    line = bench.link()
    pid = int(line.ask("pid"))
    line.ask("run", 0.5)
    if how == "stopped":
        os.kill(pid, signal.SIGSTOP)
    kernel = wait(lambda: (k := bench.kernel())["generation"] == 2 and k, "the kernel was ended and replaced")
    assert kernel["signal"] == "SIGKILL" and kernel["asked"] and "did not listen" in kernel["why"]
    told = [line["decision"] for line in bench.http.get("status")["decisions"]]
    assert [word for word, _ in itertools.groupby(told)] == ["interrupt", "terminate", "kill", "kernel ended"]
    assert (bench.folder / "decisions.jsonl").read_text().count("\n") == len(told)


def test_zombies_of_adopted_orphans_are_reaped(shared: Any, wait: Wait) -> None:
    bench = shared
    daemon = psutil.Process(int(bench.link().ask("daemon")))
    wait(lambda: daemon.ppid() == bench.server.pid, "the server has adopted it")
    daemon.kill()
    wait(lambda: not daemon.is_running(), "it is no zombie any more")


# -- the start ----------------------------------------------------------------------------------------------------


def test_the_kernel_is_spawned_before_anything_slow_is_imported() -> None:
    code = "import cellferry.worker.launcher, sys; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-P", "-c", code], text=True).split())
    slow = {
        "asyncio",
        "cryptography",
        "dataclasses",
        "jupyter_server",
        "pathlib",
        "psutil",
        "ssl",
        "tornado",
        "traitlets",
    }
    assert not loaded & slow


def test_how_long_a_cold_start_takes(
    start: Any, wait: Wait, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, not asserted: the machine may be busy."""
    began = time.monotonic()
    bench = start()
    listening = time.monotonic() - began
    spawned = psutil.Process(int(bench.link().ask("pid"))).create_time() - bench.keeper.create_time()
    bench.http.get("status")
    served = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{transport}: kernel spawned {spawned:.3f} s, listening {listening:.3f} s, HTTP {served:.3f} s")
