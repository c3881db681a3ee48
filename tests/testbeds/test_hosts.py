"""The hosts themselves: what they are promised to be, before anything else is tested on them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from testbeds import namespaces
from testbeds.hosts import OURS, Host, Network, leftovers
from testbeds.needs import need_hosts

PATIENCE_S = 30.0
LISTEN = "import socket; s = socket.create_server(('0.0.0.0', 7000)); print('up', flush=True)\nwhile True: s.accept()[0].sendall(b'x')"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come"


def answers(host: Host, timeout: float = 5.0) -> bool:
    try:
        with socket.create_connection((host.ip, 7000), timeout) as line:
            line.settimeout(timeout)
            return line.recv(1) == b"x"
    except OSError:
        return False


def serve(host: Host) -> None:
    server = host.popen(["/usr/bin/python3", "-c", LISTEN], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline() == b"up\n"


def test_a_host_is_a_machine_of_its_own(network: Network) -> None:
    host, other = network.host("one"), network.host("two")
    assert host.run(["hostname"]).stdout == "one\n" and host.ip != other.ip
    host.write("/etc/note", "only here\n", 0o600)
    assert host.read("/etc/note") == "only here\n" and host.path("/etc/note").exists()
    assert not other.path("/etc/note").exists() and not Path("/etc/note").exists()
    assert host.run(["sh", "-c", "ls /tmp /run/lock /dev/shm"], check=False).stdout.split() == ["/dev/shm:", "/tmp:"]
    assert [process.argv[0] for process in host.processes()] == []
    assert "two" in host.read("/etc/hosts") and "one" in other.read("/etc/hosts")


def test_folders_of_ours_are_hidden(network: Network) -> None:
    host = network.host("one", hide=OURS)
    assert not host.path(__file__).exists() and not host.path(sys.executable).exists()
    code = "import sys, importlib.util as u; print(u.find_spec('cellferry'))"
    assert host.run(["/usr/bin/python3", "-c", code]).stdout == "None\n"


def test_users_processes_and_environment(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "of this machine")
    host = network.host("one")
    host.add_user("alice", 4001)
    said = host.run(["sh", "-c", "id -un; pwd; echo $HOME $MORE; env"], user="alice", cwd="/home", env={"MORE": "x"})
    assert said.stdout.startswith("alice\n/home\n/home/alice x\n") and "A_SECRET" not in said.stdout
    sleeper = host.popen(["sleep", "1000"], user="alice")
    until(lambda: [p.uid for p in host.processes() if p.argv == ("sleep", "1000")] == [4001])
    (process,) = host.processes()
    host.run(["kill", str(process.pid)])
    assert sleeper.wait(PATIENCE_S) and host.processes() == []


def test_a_command_that_fails_says_so(network: Network) -> None:
    host = network.host("one")
    with pytest.raises(RuntimeError, match=r"one: sh -c .* ended with 3: no"):
        host.run(["sh", "-c", "echo no >&2; exit 3"])
    assert host.run(["false"], check=False).returncode == 1
    assert host.run(["cat"], input="in").stdout == "in"


def test_orphans_are_reaped(network: Network) -> None:
    host = network.host("one")
    host.run(["sh", "-c", "(true & exec true) & wait"])
    host.run(["setsid", "-f", "true"])
    until(lambda: "Z" not in host.run(["sh", "-c", "cat /proc/[0-9]*/stat | cut -d' ' -f3"]).stdout)


def test_hosts_reach_each_other_and_nothing_else(network: Network) -> None:
    host, other = network.host("one"), network.host("two")
    serve(host)
    assert answers(host)
    code = "import socket; print(socket.create_connection(('one', 7000), 9).recv(1))"
    assert other.run(["/usr/bin/python3", "-c", code]).stdout == "b'x'\n"
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    assert "unreachable" in other.run(["/usr/bin/python3", "-c", code], check=False).stderr


def test_partition_and_loss(network: Network) -> None:
    host = network.host("one")
    serve(host)
    with socket.create_connection((host.ip, 7000), PATIENCE_S) as line:
        assert line.recv(1) == b"x"
        host.partition(True)
        assert not answers(host, 0.3)
        host.partition(False)
        assert answers(host)
    host.drop(100)
    assert not answers(host, 0.3)
    host.drop(30)
    assert answers(host, PATIENCE_S)


def test_a_host_behind_a_cut_wire_goes_at_once(network: Network) -> None:
    host = network.host("one")
    serve(host)
    with socket.create_connection((host.ip, 7000), PATIENCE_S) as line:
        assert line.recv(1) == b"x"
        host.partition(True)
        begun = time.monotonic()
        network.close()
        assert time.monotonic() - begun < 5


def test_power_off_kills_everything(network: Network) -> None:
    host = network.host("one")
    processes = [host.popen(["sh", "-c", "trap '' TERM HUP; setsid sleep 1000 & wait"]) for _ in range(3)]
    until(lambda: len(host.processes()) == 6)
    pids = [process.outer_pid for process in host.processes()]
    host.power_off()
    assert not any(psutil.pid_exists(pid) for pid in pids) and host.processes() == [] and not host.running
    assert [process.wait(PATIENCE_S) != 0 for process in processes] == [True] * 3
    host.power_off()


@pytest.mark.parametrize(
    ("words", "how"),
    [
        ("shutdown -h now", "poweroff"),
        ("poweroff -f", "poweroff"),
        ("reboot", "reboot"),
        ("systemctl poweroff", "poweroff"),
    ],
)
def test_a_host_powers_itself_off(network: Network, words: str, how: str) -> None:
    host = network.host("one")
    with host.popen(["sh", "-c", f"echo bye >/dev/console; {words}; sleep 1000"]):
        assert host.wait(PATIENCE_S) == how
    assert host.console.read_text() == "bye\n"


def test_a_shutdown_when_nobody_else_is_there(network: Network) -> None:
    host = network.host("one")
    with host.path("/run/initctl").open("w") as pipe:
        pipe.write("poweroff\n")
    assert host.wait(PATIENCE_S) == "poweroff"


def test_a_shutdown_asks_before_it_kills(network: Network) -> None:
    host = network.host("one")
    polite = "trap 'echo I end >/dev/console; exit' TERM; echo up; while :; do sleep 0.05; done"
    deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    for script in (polite, deaf):
        process = host.popen(["sh", "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        process.stdout.close()
    host.popen(["shutdown", "-h", "now"])
    assert host.wait(PATIENCE_S) == "poweroff" and host.console.read_text() == "I end\n"


def test_the_system_call_ends_the_host_and_not_this_machine(network: Network) -> None:
    host = network.host("one")
    code = "import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)"
    with host.popen(["/usr/bin/python3", "-c", code]):
        assert host.wait(PATIENCE_S) == "poweroff"


def test_a_shutdown_may_be_planned_and_cancelled(network: Network) -> None:
    host = network.host("one")
    host.run(["shutdown", "-h", "+60"])
    until(lambda: any(process.argv[0] == "sleep" for process in host.processes()))
    host.run(["shutdown", "-c"])
    until(lambda: not host.processes())
    assert host.running


def test_only_root_powers_off(network: Network) -> None:
    host = network.host("one")
    host.add_user("alice", 4001)
    assert "must be root" in host.run(["poweroff"], user="alice", check=False).stderr and host.running


def test_the_clock_of_this_machine_is_out_of_reach(network: Network) -> None:
    host = network.host("one")
    assert host.run(["date", "-s", "2001-01-01"], check=False).returncode
    assert "Read-only" in host.run(["sh", "-c", "echo x >/proc/sys/kernel/hostname"], check=False).stderr


def test_a_disk_may_be_small(network: Network) -> None:
    host = network.host("one", size_bytes=4 << 20)
    assert "No space" in host.run(["dd", "if=/dev/zero", "of=/var/big", "bs=1M", "count=8"], check=False).stderr


def test_another_root(network: Network, tmp_path: Path) -> None:
    for name in ("usr/bin", "usr/sbin", "etc", "proc", "sys"):
        (tmp_path / name).mkdir(parents=True)
    host = network.host("one", root=str(tmp_path))
    assert sorted(path.name for path in host.path("/").iterdir()) == sorted(
        ["dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"]
    )


def test_two_networks_at_once(network: Network) -> None:
    with Network() as second:
        assert second.number != network.number
        host, other = network.host("one"), second.host("one")
        serve(host)
        assert answers(host)
        code = f"import socket; socket.create_connection(('{host.ip}', 7000), 5)"
        assert "unreachable" in other.run(["/usr/bin/python3", "-c", code], check=False).stderr


def test_nothing_is_left_of_a_network() -> None:
    need_hosts()
    with Network() as network:
        host = network.host("one")
        host.popen(["sleep", "1000"])
        assert [line for line in leftovers() if "is open" in line]
    assert leftovers() == []
    assert namespaces.links_of_this_process() == []
    assert not network.folder.exists()


def test_hosts_end_with_the_process_that_made_them() -> None:
    need_hosts()
    code = (
        "from testbeds.hosts import Network; n = Network(); h = n.host('one'); h.popen(['sleep', '1000'])\n"
        "print(h.pid, n.link, n.folder, flush=True); input()"
    )
    path = str(Path(__file__).parents[1])
    maker = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    with maker:
        assert maker.stdout is not None
        pid, link, folder = maker.stdout.readline().split()
        process_1 = psutil.Process(int(pid))
        maker.send_signal(signal.SIGKILL)
    psutil.wait_procs([process_1], PATIENCE_S)
    assert not process_1.is_running() or process_1.status() == psutil.STATUS_ZOMBIE
    until(lambda: link not in {found["ifname"] for found in namespaces.links()})
    for entry in sorted(Path(folder).rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() else entry.unlink()
    Path(folder).rmdir()


def test_without_root_the_tests_are_skipped_and_fail_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="sudo make test"):
        need_hosts()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="need root"):
        need_hosts()
    with pytest.raises(RuntimeError, match="need root"):
        Network()
