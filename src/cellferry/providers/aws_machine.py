"""What runs on a machine at AWS from its first seconds to its last. This file travels as it is in the user data.

It needs the standard library alone, of Python 3.9 or later, and must not import anything else of this package. It holds
and is told no secret. In order: a key of its own, whose certificate's fingerprint goes to the console (the owner of the
account reads it there); a door for the one client whose certificate is pinned; the software, which that client sends or
names; the worker, at the same port with the same key; and at the end of all that, however it comes, the machine is off.

What the two ends say to each other, one JSON object a line (``aws_handover`` is the other end):

    client: hello (Python, index, the worker's settings)
            give (size, sha256), then so many bytes of a tar, as the answer to need; size 0: it has none
    machine: progress (text) | need (what: kit, uv or wheels) | ready | failed (what: the end of the log)

A client whose connection broke comes again: what was said is said once more, but for needs that were answered.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from calendar import timegm
from pathlib import Path
from typing import Any, BinaryIO

PROTOCOL = "cellferry-boot/1"
"""By this a client knows whether it speaks to this program, or to the worker that is at the same port later."""
PARTIAL_CHAIN = 0x80000
"""X509_V_FLAG_PARTIAL_CHAIN; the ssl module has a name for it from Python 3.10 on."""
LINE_BYTES = 1 << 16
HANDSHAKE_S = 15.0
SILENT_S = 300.0
"""A client that sends nothing for so long in the middle of something is gone."""
NOTICE_S = 5.0
READY_S = 120.0
FAREWELL_S = 30.0
"""How long a machine that failed stays, so that its client can read why."""
AGAIN_S = (0.0, 20.0, 60.0)
"""When the fingerprint is written to the console: what the kernel writes at the same moment may spoil a line."""


class Boot:
    """One machine's way from its key to its worker. Threads: one for each connection, and the one that installs."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.folder = Path(settings["folder"])
        self.worker = self.folder / "worker"
        self.hello: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.given: dict[str, str] = {}
        self.changed = threading.Condition()

    # -- who is who -----------------------------------------------------------------------------------------------

    def make_key(self) -> str:
        """A key pair for the worker, made here; returns the SHA-256 of its certificate.

        ``openssl ca`` rather than ``openssl req -x509``: only that can date a certificate back, which a client whose
        clock is a little late needs.
        """
        self.worker.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = self.worker / "worker.crt"
        if not made.exists():
            place = self.folder / "key"
            place.mkdir(mode=0o700, exist_ok=True)
            (place / "index").touch()
            (place / "serial").write_text(os.urandom(15).hex() + "\n")
            (place / "cnf").write_text(OPENSSL.format(place=place))
            key = str(self.worker / "worker.key")
            run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], self.folder)
            base = ["-config", str(place / "cnf"), "-batch"]
            run(["openssl", "req", "-new", *base, "-key", key, "-out", str(place / "csr")], self.folder)
            dates = ["-startdate", stamp(-3600), "-enddate", stamp(30 * 86400)]
            run(["openssl", "ca", "-selfsign", "-notext", *base, "-keyfile", key, "-in", str(place / "csr"),
                 "-out", str(made), *dates], self.folder)  # fmt: skip
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(made.read_text())).hexdigest()

    def tell_console(self, words: str) -> None:
        """One line on the machine's console; it begins with our own word and the token, and ends with a mark."""
        for name in self.settings["console"]:
            try:
                with Path(name).open("a") as console:
                    console.write(f"\ncellferry {self.settings['token']} {words} .\n")
                return
            except OSError:
                continue

    def announce(self, fingerprint: str) -> None:
        for wait_s in AGAIN_S:
            with self.changed:
                if self.changed.wait_for(lambda: self.hello, wait_s):
                    return
            self.tell_console(f"certificate {fingerprint}")

    # -- the door -------------------------------------------------------------------------------------------------

    def serve(self, listener: socket.socket) -> None:
        """Accept until the listener is closed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= PARTIAL_CHAIN
        context.set_alpn_protocols([PROTOCOL])
        context.load_verify_locations(cadata=self.settings["client_cert_pem"])
        context.load_cert_chain(str(self.worker / "worker.crt"), str(self.worker / "worker.key"))
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.take, args=(connection, context), daemon=True).start()

    def take(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        try:
            connection.settimeout(HANDSHAKE_S)
            with context.wrap_socket(connection, server_side=True) as tls:
                pinned = ssl.PEM_cert_to_DER_cert(self.settings["client_cert_pem"])
                if tls.getpeercert(binary_form=True) != pinned:
                    return
                tls.settimeout(SILENT_S)
                with tls.makefile("rwb") as stream:
                    self.greet(stream)
                    self.follow(stream)
        except (OSError, ValueError, KeyError) as error:
            print(f"a connection ended: {error!r}", flush=True)
            connection.close()

    def greet(self, stream: Any) -> None:
        said = json.loads(stream.readline(LINE_BYTES))
        with self.changed:
            self.hello = self.hello or said
            self.changed.notify_all()

    def follow(self, stream: Any) -> None:
        """Say what happened so far and what happens next, until the worker is ready or nothing more will come."""
        at = 0
        while True:
            with self.changed:
                self.changed.wait_for(lambda: len(self.events) > at)  # noqa: B023 - called at once
                event = self.events[at]
            at += 1
            what = event.get("what", "")
            if event["op"] == "need" and what in self.given:
                continue
            stream.write(json.dumps(event).encode() + b"\n")
            stream.flush()
            if event["op"] in ("ready", "failed"):
                return
            if event["op"] == "need":
                said = json.loads(stream.readline(LINE_BYTES))
                if said["size"]:
                    receive(stream, said, self.folder / f"{what}-{threading.get_ident()}.tar", self.folder / what)
                with self.changed:
                    self.given[what] = "there" if said["size"] else "none"
                    self.changed.notify_all()

    def say(self, op: str, **more: Any) -> None:
        with self.changed:
            self.events.append({"op": op, **more})
            self.changed.notify_all()

    def ask(self, what: str) -> bool:
        """Have the client send something; False if it has none, or does not come back in time."""
        self.say("need", what=what)
        with self.changed:
            self.changed.wait_for(lambda: what in self.given, SILENT_S)
            return self.given.get(what) == "there"

    # -- the software ---------------------------------------------------------------------------------------------

    def install(self) -> Path:
        """The interpreter of a new virtual environment that holds the kit's software. Raises Failed."""
        for what in ("kit", "uv"):
            if not self.ask(what):
                raise Failed(f"the client sent no {what}, without which nothing can be installed")
        uv = self.folder / "uv" / "uv"
        uv.chmod(0o755)
        venv, kit = self.folder / "venv", self.folder / "kit"
        self.say("progress", text=f"the machine gets Python {self.hello['python']}")
        run([str(uv), "venv", "-q", "--clear", "--python", self.hello["python"], str(venv)], self.folder)
        python = venv / "bin" / "python"
        base = [str(uv), "pip", "install", "-q", "--python", str(python), "--no-deps"]
        packages = ["-r", str(kit / "requirements.txt"), *sorted(map(str, kit.glob("*.whl")))]
        self.say("progress", text="the machine installs the worker's software")
        quick = {"UV_HTTP_TIMEOUT": "15", "UV_HTTP_RETRIES": "1"}
        for index in ([self.hello["index"]] if self.hello["index"] else []) + [[]]:
            try:
                run([*base, *index, *packages], self.folder, quick)
                return python
            except Failed as error:
                failed = error
        self.say("progress", text="the machine reaches no index: the packages are sent from here")
        if not self.ask("wheels"):
            raise failed
        run([*base, "--no-index", "--find-links", str(self.folder / "wheels"), *packages], self.folder)
        return python

    # -- the worker -----------------------------------------------------------------------------------------------

    def start_worker(self, python: Path) -> subprocess.Popen[bytes]:
        """Start it and wait until it accepts connections; raises Failed with the end of its log."""
        write(self.worker / "worker.json", self.hello["worker"])
        (self.worker / "ready.json").unlink(missing_ok=True)
        environ = {**ENVIRON, "PATH": f"{python.parent}:{self.folder / 'uv'}:{ENVIRON['PATH']}"}
        with (self.worker / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [str(python), "-P", "-m", "cellferry.worker", str(self.worker)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.worker, env=environ, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + READY_S
        while not (self.worker / "ready.json").exists():
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
                process.kill()
            raise Failed(f"the worker does not start; the end of its log:\n{tail(self.worker / 'worker.log')}")
        return process

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Until the worker has ended; what AWS announces goes into its folder (``notice``)."""
        noticed = False
        while True:
            try:
                code = process.wait(NOTICE_S)
                break
            except subprocess.TimeoutExpired:
                noticed = noticed or self.look_for_notice()
        reason = "".join(re.findall(r"[a-z ]", read(self.worker / "ended")))[:40]
        self.tell_console(f"ended {code} {reason}")

    def look_for_notice(self) -> bool:
        """Whether AWS has said that it takes this spot machine back (instance metadata, version 2)."""
        base = self.settings["metadata"]
        if not base:
            return False
        try:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
            token = fetch(f"{base}/latest/api/token", headers, "PUT").decode()
            told = fetch(f"{base}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token}, "GET")
            action = json.loads(told)
            at = timegm(time.strptime(action["time"], "%Y-%m-%dT%H:%M:%SZ"))
            write(self.worker / "notice", {"what": "AWS takes this spot machine back", "at_unix_s": at})
        except (OSError, ValueError, KeyError):
            return False  # 404 as long as nothing is announced
        return True

    # -- all of it ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Returns when the machine has no reason to exist any more."""
        fingerprint = self.make_key()
        listener = socket.create_server((self.settings["host"], self.settings["port"]), backlog=16)
        threading.Thread(target=self.serve, args=(listener,), daemon=True).start()
        threading.Thread(target=self.announce, args=(fingerprint,), daemon=True).start()
        try:
            with self.changed:
                if not self.changed.wait_for(lambda: self.hello, self.settings["unclaimed_s"]):
                    self.tell_console("unclaimed")
                    return
            python = self.install()
        except (Failed, OSError, KeyError) as error:
            self.fail(error)
            return
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept, which would hold the port
        listener.close()
        try:
            process = self.start_worker(python)
        except (Failed, OSError) as error:
            self.fail(error)
            return
        self.say("ready")
        self.watch(process)

    def fail(self, error: Exception) -> None:
        print(f"failed: {error}", flush=True)
        self.say("failed", what=str(error)[-6000:])
        self.tell_console("failed")
        with self.changed:  # nobody notifies: a plain wait
            self.changed.wait(FAREWELL_S)


class Failed(Exception):
    """Something could not be done; the text is for the client."""


ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
}

OPENSSL = """
[req]
prompt = no
distinguished_name = name
[name]
CN = cellferry
[ca]
default_ca = own
[own]
database = {place}/index
serial = {place}/serial
new_certs_dir = {place}
default_md = sha256
policy = any
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
"""


def run(argv: list[str], cwd: Path, more: dict[str, str] | None = None) -> None:
    """Run a program to its end; raises Failed with the end of what it said."""
    environ = {**ENVIRON, "UV_CACHE_DIR": str(cwd / "uv-cache"), "UV_PYTHON_INSTALL_DIR": str(cwd / "python"), **(more or {})}
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        raise Failed(f"{argv[0]} cannot be run: {error}") from error
    text = done.stdout.decode("utf-8", "replace")
    print(text, end="", flush=True)
    if done.returncode:
        raise Failed(f"`{Path(argv[0]).name} {argv[1]}` failed:\n" + "\n".join(text.splitlines()[-12:]))


def receive(stream: BinaryIO, said: dict[str, Any], part: Path, target: Path) -> None:
    """Take so many bytes of a tar, check them, and unpack its plain files into the folder ``target``."""
    digest, left = hashlib.sha256(), said["size"]
    with part.open("wb") as file:
        while left:
            piece = stream.read(min(left, 1 << 20))
            if not piece:
                raise OSError("the client hung up")
            digest.update(piece)
            file.write(piece)
            left -= len(piece)
    if digest.hexdigest() != said["sha256"]:
        raise OSError("what arrived is not what was sent")
    target.mkdir(mode=0o700, exist_ok=True)
    with tarfile.open(part) as tar:
        for member in tar:
            source = tar.extractfile(member)
            if source is not None:
                with (target / Path(member.name).name).open("wb") as file:
                    while piece := source.read(1 << 20):
                        file.write(piece)
    part.unlink()


def fetch(url: str, headers: dict[str, str], method: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers, method=method), timeout=2) as answer:
        return bytes(answer.read(LINE_BYTES))


def write(path: Path, content: dict[str, Any]) -> None:
    """Whoever sees the file sees all of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content))
    part.chmod(0o600)
    part.replace(path)


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def tail(path: Path) -> str:
    return "\n".join(read(path).splitlines()[-12:])


def stamp(from_now_s: float) -> str:
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + from_now_s))


if __name__ == "__main__":
    os.umask(0o077)
    Boot(json.loads(Path(sys.argv[1]).read_text())).run()
