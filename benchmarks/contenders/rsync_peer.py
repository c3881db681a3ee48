"""rsync over ssh on loopback: a server of the benchmark's own, keys made for it, and one connection that stays open."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.contender import Samples, Step, timed
from benchmarks.files import check_file, check_small, make_file, make_small

PATIENCE_S = 20


class RsyncPeer:
    """``rsync -a`` with the fastest cipher; the connection is open before the clock starts, as cellferry's is."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {"file": self.file, "small": self.small}
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def setup(self) -> None:
        """Keys, server and connection. Raises if rsync or sshd is not installed."""
        missing = [name for name in ("rsync", "ssh", "ssh-keygen", "sshd") if shutil.which(name, path=_path()) is None]
        if missing:
            raise RuntimeError(f"not installed: {', '.join(missing)}  -> .ci/system-packages openssh-server rsync")
        self._folder = folder = Path(tempfile.mkdtemp(prefix="cfr-"))
        (folder / "here").mkdir()
        (folder / "there").mkdir()
        for name in ("host", "user"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        port = _free_port()
        (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
        options = (f"ListenAddress=127.0.0.1:{port}", f"AuthorizedKeysFile={folder}/user.pub", "StrictModes=no",
                   "UsePAM=no", "PidFile=none", "PasswordAuthentication=no", "PermitRootLogin=prohibit-password")  # fmt: skip
        command = [shutil.which("sshd", path=_path()), "-D", "-e", "-f", "/dev/null", "-h", folder / "host"]
        for option in options:
            command += ["-o", option]
        self._server = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE)
        assert self._server.stderr is not None
        for line in self._server.stderr:
            if b"listening" in line:
                break
        self._ssh = " ".join(
            ["ssh", "-F", "none", "-p", str(port), "-i", f"{folder}/user", "-S", f"{folder}/master"]
            + [f"-o {option}" for option in (f"UserKnownHostsFile={folder}/known", "StrictHostKeyChecking=yes",
               "IdentitiesOnly=yes", "Ciphers=aes128-gcm@openssh.com", "Compression=no")]
        )  # fmt: skip
        _run(*self._ssh.split(), "-M", "-f", "-N", "127.0.0.1")

    def teardown(self) -> None:
        """End the connection and the server."""
        if self._server is not None:
            subprocess.run([*self._ssh.split(), "-O", "exit", "127.0.0.1"], capture_output=True, timeout=PATIENCE_S)
            self._server.terminate()
            self._server.wait(PATIENCE_S)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def file(self, size: int, turn: int) -> Samples:
        """One large file out, another home."""
        here, there = self._places()
        make_file(here / "out.bin", size, turn)
        make_file(there / "home.bin", size, -turn)
        samples = {
            "out_s": [timed(lambda: self._rsync(here / "out.bin", self._far(there)))],
            "home_s": [timed(lambda: self._rsync(self._far(there / "home.bin"), here))],
        }
        check_file(there / "out.bin", size, turn)
        check_file(here / "home.bin", size, -turn)
        return self._swept(samples)

    def small(self, count: int, turn: int) -> Samples:
        """Many small files out, others home."""
        here, there = self._places()
        make_small(here / "out", count, turn)
        make_small(there / "home", count, -turn)
        samples = {
            "out_s": [timed(lambda: self._rsync(here / "out", self._far(there)))],
            "home_s": [timed(lambda: self._rsync(self._far(there / "home"), here))],
        }
        check_small(there / "out", count, turn)
        check_small(here / "home", count, -turn)
        return self._swept(samples)

    def _places(self) -> tuple[Path, Path]:
        assert self._folder is not None
        return self._folder / "here", self._folder / "there"

    def _far(self, path: Path) -> str:
        return f"127.0.0.1:{path}"

    def _rsync(self, source: Path | str, target: Path | str) -> None:
        _run("rsync", "-a", "-e", self._ssh, source, target)

    def _swept(self, samples: Samples) -> Samples:
        for place in self._places():
            shutil.rmtree(place)
            place.mkdir()
        return samples


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
