"""Both ends prove who they are: another user of this machine, or of the worker's, may put anything where others can write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cellferry.config import Cellferry
from cellferry.errors import IdentityError
from cellferry.jupyter.left import left_here
from cellferry.link.dial import dial
from cellferry.link.http import WorkerHttp
from cellferry.link.identity import make_identity
from cellferry.link.packages import ask_versions
from cellferry.link.session import KernelLink
from cellferry.model import PROOF_FILE, CellRequest, Endpoint, Lease, Order, Worker
from cellferry.providers.ssh import SshProvider
from cellferry.shared_folder import is_there, our_folders, read_ours
from cellferry.testing.contract import PATIENCE_S, eventually
from testbeds.far import Far, far  # noqa: F401
from testbeds.host import Host

STRANGER = 64123
NOTEBOOK = "/home/ana/n.ipynb"
FORGED = json.dumps({"run": "forged", "notebook": NOTEBOOK, "number": 1})

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a second user needs root")


def as_stranger(script: str, *, stdin: str = "", cwd: Path = Path("/tmp")) -> None:
    """What somebody else on this machine types."""
    argv = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "sh", "-euc", script]
    subprocess.run(argv, input=stdin, text=True, cwd=cwd, check=True)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As /tmp: everybody may write, nobody may touch what is another's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    monkeypatch.setenv("CELLFERRY_WORKER_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def a_run(folder: Path, run: str = "mine") -> Path:
    (folder / "runs" / run).mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "runs" / run / "orphan").touch()
    (folder / "runs" / run / "run.json").write_text(json.dumps({"run": run, "notebook": NOTEBOOK, "number": 3}))
    return folder / "runs" / run


@pytest.mark.timeout(30)
@pytest.mark.parametrize("script", [
    "mkdir -p cf-x/runs/x; touch cf-x/runs/x/orphan; mkfifo cf-x/runs/x/run.json",
    "mkdir -p cf-x/runs/x; touch cf-x/runs/x/orphan; cat > cf-x/runs/x/run.json",
    "mkdir -p cf-x/runs/x; ln -s \"$PWD/cf-ours/runs/mine/orphan\" cf-x/runs/x/orphan; cat > cf-x/runs/x/run.json",
    "mkdir -p cf-x/runs; ln -s \"$PWD/cf-ours/runs/mine\" cf-x/runs/x",
    "ln -s cf-ours cf-x",
    "mkdir -p cf-x/runs/x; touch cf-x/runs/x/orphan; truncate -s 1T cf-x/runs/x/run.json",
])  # fmt: skip
def test_a_stranger_offers_nothing_and_holds_nothing_up(shared: Path, script: str) -> None:
    a_run(shared / "cf-ours")
    as_stranger(script, stdin=FORGED, cwd=shared)
    assert list(left_here(NOTEBOOK)) == [("mine", 3)]
    assert list(our_folders(shared, "cf-")) == [shared / "cf-ours"]


def test_a_folder_of_ours_that_others_may_write_is_not_ours_alone(shared: Path) -> None:
    a_run(shared / "cf-ours")
    (shared / "cf-ours").chmod(0o777)
    assert not list(left_here(NOTEBOOK))


def test_only_a_regular_file_of_ours_of_a_decent_size_is_read(shared: Path) -> None:
    folder = shared / "cf-ours"
    run = a_run(folder)
    assert read_ours(folder, "runs", "mine", "run.json") == (run / "run.json").read_bytes()
    os.mkfifo(run / "pipe")
    (run / "link").symlink_to(run / "run.json")
    (run / "theirs").write_text("x")
    os.chown(run / "theirs", STRANGER, STRANGER)
    (run / "large").write_bytes(b"x" * 100)
    for name in ("pipe", "link", "theirs"):
        with pytest.raises(OSError):
            read_ours(folder, "runs", "mine", name)
        assert not is_there(folder, "runs", "mine", name)
    with pytest.raises(PermissionError, match="larger"):
        read_ours(folder, "runs", "mine", "large", most_bytes=99)
    with pytest.raises(FileNotFoundError):
        read_ours(folder, "runs", "none", "run.json")


# -- over a tunnel ------------------------------------------------------------------------------------------------------------

IMPOSTOR = """
import os, socket, sys, threading
folder, answer = sys.argv[-1], sys.stdin.buffer.read()
listener = socket.socket(socket.AF_UNIX)
listener.bind(folder + "/worker.sock")
os.chmod(folder + "/worker.sock", 0o777)
listener.listen()
print("listens", flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(answer)
    threading.Thread(target=connection.recv, args=(1 << 20,)).start()
"""
"""Says at once whatever it was told, to whoever connects."""


@pytest.fixture
def provider(far: Far, tmp_path: Path) -> Iterator[Callable[[], SshProvider]]:
    """A new process of ana, as far as the machine can tell."""
    made: list[SshProvider] = []
    configuration, hosts = far.configuration(tmp_path)

    def one() -> SshProvider:
        config = Cellferry(
            hosts=[f"ana@{far.sshd.address}"], ssh_config=str(configuration), ssh_known_hosts=str(hosts),
            state_dir=str(tmp_path / "state"), start_timeout_s=PATIENCE_S, person="ana at home",
        )  # fmt: skip
        made.append(SshProvider(config, lambda folder: make_identity(folder).cert_pem))
        return made[-1]

    yield one
    for each in made:
        each.close()


def started(provider: SshProvider) -> Worker:
    offer = provider.offers(CellRequest())[0]
    order = Order(CellRequest(), "far", Lease(600.0), offer, token=uuid.uuid4().hex, owner=provider.owner)
    return provider.start(order, lambda _line: None)


def ask_all(endpoint: Endpoint) -> None:
    """Each way in which something is asked of a worker, and none of them believes what answers."""
    with pytest.raises(IdentityError):
        KernelLink(endpoint, None, {}, "w", lambda closed: None).open()  # type: ignore[arg-type]
    with pytest.raises(IdentityError):
        ask_versions(endpoint, "w", lambda line: None, lambda: None)
    with pytest.raises(IdentityError):
        WorkerHttp(endpoint, timeout_s=PATIENCE_S).get("status")


def answers_all(worker: Worker) -> None:
    dial(worker.endpoint).close()
    assert ask_versions(worker.endpoint, "w", lambda line: None, lambda: None).versions
    assert WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).get("status")["worker_id"] == worker.id


def script(host: Host, text: str, user: str = "root") -> str:
    return host.run(["sh", "-euc", text], user=user).stdout


def python_there() -> str:
    return f"{sys.base_prefix}/bin/python3"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_who_takes_the_place_of_a_worker_is_neither_believed_nor_ended(
    far: Far, provider: Callable[[], SshProvider]
) -> None:
    host, ana = far.host, provider()
    worker = started(ana)
    answers_all(worker)
    folder = worker.machine.split()[1]
    with pytest.raises(RuntimeError, match="denied"):
        script(host, f"mkdir {Path(folder).parent}/x", "bob")

    # The worker ends, and so does everything below /tmp, as when the machine is started again: its names are anybody's.
    script(host, f"pkill -KILL -s {json.loads(host.read(f'{folder}/ready.json'))['pid']}")
    eventually(lambda: not ana.alive(worker), "it has ended", PATIENCE_S)
    eventually(lambda: not any("cellferry" in str(each) for each in host.processes()), "all of it has", PATIENCE_S)
    script(host, f"rm -rf {Path(folder).parent}")
    script(host, f"mkdir -p {folder} && chmod 755 {folder}/..", "bob")
    argv = ["python", "-P", "-m", "cellferry.worker", folder]
    words = ["bash", "-c", f'exec -a python {python_there()} -c "$0" "$@"', IMPOSTOR, *argv[1:]]
    environ = {"PYTHONHOME": sys.base_prefix}
    impostor = host.popen(words, user="bob", env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert impostor.stdin is not None and impostor.stdout is not None
        impostor.stdin.write(b"\0" * 4096)
        impostor.stdin.close()
        assert impostor.stdout.readline() == b"listens\n"
        pid = script(host, "pgrep -u bob -f cellferry.worker").split()[0]
        ready, told = json.dumps({"pid": int(pid)}), json.dumps({"worker_id": worker.id, "owner": ana.owner})
        script(host, f"cd {folder}; echo '{ready}' > ready.json; echo '{told}' > worker.json", "bob")
        ask_all(worker.endpoint)
        again = provider()
        again.offers(CellRequest())
        assert not list(again.find()) and not again.alive(worker)
        ask_all(again.reach(worker).endpoint)
        again.stop(worker)
        assert impostor.poll() is None
    finally:
        script(host, "pkill -KILL -u bob || true")
        impostor.wait()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_number_in_a_file_ends_nobody_else(far: Far, provider: Callable[[], SshProvider]) -> None:
    """What a worker wrote before it was killed may be the number of something else by now."""
    host, ana = far.host, provider()
    worker = started(ana)
    folder = worker.machine.split()[1]
    pid = int(json.loads(host.read(f"{folder}/ready.json"))["pid"])
    script(host, "setsid sleep 1000 >/dev/null 2>&1 </dev/null &", "ana")
    eventually(lambda: script(host, "pgrep -u ana -f 'sleep 1000' || true").strip() != "", "it runs", PATIENCE_S)
    number = script(host, "pgrep -u ana -f 'sleep 1000'").split()[0]
    script(host, f'sed -i \'s/"pid": {pid}/"pid": {number}/\' {folder}/ready.json', "ana")
    assert not provider().alive(worker)
    provider().stop(worker)
    script(host, f"kill -KILL {number}")  # it is still there: else this fails
    script(host, f"kill -TERM {pid}")
    eventually(
        lambda: not any("cellferry" in str(each) for each in host.processes()), "all of it has ended", PATIENCE_S
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_places_that_somebody_has_taken_and_workers_that_prove_nothing(
    far: Far, provider: Callable[[], SshProvider]
) -> None:
    host, ana = far.host, provider()
    uid = script(host, "id -u ana").strip()
    script(host, f"rm -rf /tmp/cfs-{uid}*")
    script(host, f"mkdir -m 777 /tmp/cfs-{uid}; ln -s /home/ana /tmp/cfs-{uid}-link", "bob")
    worker = started(ana)
    folder = Path(worker.machine.split()[1])
    assert script(host, f"stat -c '%a %U' {folder.parent}").split() == ["700", "ana"]
    assert folder.parent.name.startswith(f"cfs-{uid}-")
    answers_all(worker)
    assert provider().reach(worker).endpoint.path

    script(host, f"rm {folder}/{PROOF_FILE}", "ana")  # one that an earlier version has started
    old = provider().reach(worker)
    with pytest.raises(IdentityError, match="earlier version") as caught:
        dial(old.endpoint)
    assert "%remote down" in caught.value.advice
    ana.stop(worker)
    eventually(lambda: not ana.alive(worker), "it can be ended", PATIENCE_S)
