"""This end of what ``aws_machine`` says and hears: prove who is there, hand over the software, follow until it is a worker."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import socket
import ssl
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cellferry.environment.installed import canonicalize_name, take_inventory
from cellferry.environment.kit import Kit
from cellferry.environment.sources import read_sources
from cellferry.environment.uv import run_uv, uv_binary
from cellferry.environment.wheels import wheel_of
from cellferry.errors import CellferryError, EnvironmentFailed, IdentityError, Refused
from cellferry.providers.aws_machine import PROTOCOL
from cellferry.providers.base import Progress

CONNECT_S = 4.0
SILENT_S = 600.0
"""A machine says something at least at each step; the longest is the installation."""
PAUSE_S = 0.5
LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Door:
    """Where a machine is reached, and who may be there. ``cert_pem`` is "" before its fingerprint was compared."""

    host: str
    port: int
    client_dir: Path
    cert_pem: str = ""

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 that shows our certificate and accepts the machine's alone, as ``parcels.tls`` does. Raises OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self.cert_pem)
        context.load_cert_chain(self.client_dir / "client.crt", self.client_dir / "client.key")
        context.set_alpn_protocols([PROTOCOL])
        return context

    def connect(self) -> ssl.SSLSocket:
        """A connection to the machine whose certificate is pinned; raises OSError (ssl.SSLError among them)."""
        connection = socket.create_connection((self.host, self.port), CONNECT_S)
        try:
            tls = self.context().wrap_socket(connection)
            if tls.getpeercert(binary_form=True) != ssl.PEM_cert_to_DER_cert(self.cert_pem):
                raise ssl.SSLError("the other end shows a certificate that is not the pinned one")
        except BaseException:
            connection.close()
            raise
        return tls


def certificate_at(host: str, port: int, fingerprint: str) -> str:
    """The certificate (PEM) of whoever answers there, if its SHA-256 is the one that the machine wrote to its console.

    Nothing is sent before that. Raises OSError while nobody answers, IdentityError if somebody else does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is looked at below, and only then used
    with socket.create_connection((host, port), CONNECT_S) as connection, context.wrap_socket(connection) as tls:
        shown = tls.getpeercert(binary_form=True) or b""
    if hashlib.sha256(shown).hexdigest() != fingerprint:
        raise IdentityError(
            f"{host}:{port} shows another certificate than the one whose fingerprint the new machine wrote to its console: "
            "somebody is in between; nothing was sent",
            "try another network, or a VPN that you trust",
        )
    return ssl.DER_cert_to_PEM_cert(shown)


def hand_over(
    door: Door, kit: Kit, cache: Path, worker: dict[str, Any], arch: str, progress: Progress, deadline: float,
    look: Callable[[], None],
) -> None:  # fmt: skip
    """Send the software, and return when the worker accepts connections at the same port.

    A connection that breaks is made again until ``deadline`` (time.monotonic()), before which ``look`` is called now and
    then: it raises when the machine is gone. Raises TimeoutError, Refused with the end of the machine's log, CellferryError.
    """
    hello = {
        "op": "hello", "python": kit.python, "worker": worker,
        "index": [word for word in read_sources(os.environ).arguments() if not word.startswith("/")],
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cf-kit-") as place:
        parts = _Parts(Path(place), kit, cache, arch)
        while True:
            try:
                with door.connect() as tls, tls.makefile("rwb") as stream:
                    if tls.selected_alpn_protocol() != PROTOCOL:
                        return  # it is a worker already
                    tls.settimeout(SILENT_S)
                    _converse(stream, hello, parts, progress)
                    return
            except OSError as exc:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the machine does not answer: {exc}") from exc
            look()
            threading.Event().wait(PAUSE_S)


def _converse(stream: Any, hello: dict[str, Any], parts: _Parts, progress: Progress) -> None:
    """One connection's worth; returns at ``ready``."""
    stream.write(json.dumps(hello).encode() + b"\n")
    stream.flush()
    count = 0
    while True:
        line = stream.readline(LINE_BYTES)
        if not line:
            raise ConnectionResetError("the machine hung up")
        event = json.loads(line)
        if event["op"] == "progress":
            count += 1
            if count > parts.shown:
                parts.shown = count
                progress(str(event["text"]))
        elif event["op"] == "need":
            _give(stream, parts.make(str(event["what"]), progress))
        elif event["op"] == "failed":
            raise Refused(
                f"the machine could not make a worker of itself: {event['what']}",
                "run the cell again; if this stays: cellferry doctor",
            )
        elif event["op"] == "ready":
            return


def _give(stream: Any, part: Path | None) -> None:
    if part is None:
        stream.write(json.dumps({"op": "give", "size": 0}).encode() + b"\n")
    else:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            stream.write(json.dumps({"op": "give", "size": file.tell(), "sha256": digest}).encode() + b"\n")
            file.seek(0)
            while piece := file.read(1 << 20):
                stream.write(piece)
    stream.flush()


def answers(door: Door) -> bool:
    """Whether the worker there accepts a connection of ours."""
    try:
        with door.connect() as tls:
            return tls.selected_alpn_protocol() != PROTOCOL
    except OSError:
        return False


# -- what is sent -----------------------------------------------------------------------------------------------------


class _Parts:
    """The archives that a machine may ask for, made when it does."""

    def __init__(self, place: Path, kit: Kit, cache: Path, arch: str) -> None:
        self._place, self._kit, self._cache, self._arch = place, kit, cache, arch
        self.shown = 0
        """How many of the machine's words the user has seen."""

    def make(self, what: str, progress: Progress) -> Path | None:
        """None for what cannot be had here, or is not known."""
        if what == "kit":
            return self._tar("kit", self._kit.wheels, {"requirements.txt": self._kit.requirements.encode()})
        if what == "uv":
            return self._tar("uv", [self._uv()], {}, "w:gz")
        if what == "wheels":
            wheels = self._wheels()
            if wheels is not None:
                size = sum(wheel.stat().st_size for wheel in wheels)
                progress(f"{len(wheels)} packages are sent from here ({size >> 20} MiB)")
                return self._tar("wheels", wheels, {})
        return None

    def _tar(self, name: str, files: Iterable[Path], more: dict[str, bytes], mode: str = "w") -> Path:
        target = self._place / f"{name}.tar"
        if not target.exists():
            kwargs: dict[str, Any] = {"compresslevel": 1} if mode == "w:gz" else {}
            with tarfile.open(target, mode, **kwargs) as tar:  # type: ignore[call-overload]
                for file in files:
                    tar.add(file, file.name)
                for inside, data in more.items():
                    entry = tarfile.TarInfo(inside)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
        return target

    def _uv(self) -> Path:
        """uv for the machine: our own, if it is of our kind, or the same version fetched for its kind."""
        if _same_kind(self._arch):
            return Path(uv_binary())
        word = f"{'aarch64' if self._arch == 'arm64' else self._arch}-unknown-linux-gnu"
        target = self._place / "other"
        outcome = run_uv(["pip", "install", "-q", "--no-deps", "--target", str(target), "--python-platform", word,
                          *read_sources(os.environ).arguments(), f"uv=={version('uv')}"])  # fmt: skip
        if not outcome.ok:
            raise EnvironmentFailed(
                f"uv for machines of kind {self._arch} cannot be had:\n{outcome.err.strip()[-600:]}", "is the index reachable?"
            )
        return target / "bin" / "uv"

    def _wheels(self) -> list[Path] | None:
        """Every package of the kit as it is installed here; None where the machine is of another kind."""
        if not _same_kind(self._arch):
            return None
        installed, found = take_inventory().dists, []
        for line in self._kit.requirements.splitlines():
            dist = installed.get(canonicalize_name(line.partition("==")[0]))
            if dist is not None:
                try:
                    found.append(wheel_of(dist, self._cache / "wheels", read_sources(os.environ)))
                except CellferryError:
                    return None
        return found


def _same_kind(arch: str) -> bool:
    return sys.platform == "linux" and platform.machine() == {"arm64": "aarch64"}.get(arch, arch)
