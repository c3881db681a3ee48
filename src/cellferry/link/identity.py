"""Who is at each end of a connection: keys made where they are used, certificates pinned, folders that are ours."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from cellferry.errors import IdentityError, LinkError
from cellferry.model import Endpoint
from cellferry.parcels import tls
from cellferry.parcels.identity import make_key_pair
from cellferry.parcels.wire import ALPN


@dataclass(frozen=True)
class Identity:
    """This end's own key and certificate. Only ``cert_pem`` may be given away."""

    cert_pem: str
    key_path: Path
    cert_path: Path
    fingerprint: str


def make_identity(folder: Path) -> Identity:
    """``client.key`` and ``client.crt`` in ``folder``, made if they (or the folder) are not there or soon expire.

    Raises IdentityError when the folder is not private.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(folder)
    pair = make_key_pair(folder, "client")
    return Identity(pair.cert_pem, pair.key_path, pair.cert_path, pair.fingerprint)


def client_context(endpoint: Endpoint, alpn: str = ALPN) -> ssl.SSLContext:
    """For connecting to a worker over TLS 1.3: shows our certificate, accepts the worker's and no other.

    ``alpn`` says what is wanted behind the worker's one door: the kernel, or ``http/1.1``. After the handshake the
    caller still compares the certificate byte for byte (``tls.check_pinned``). Raises IdentityError.
    """
    folder = Path(endpoint.client_dir)
    check_folder(folder)
    try:
        return tls.client_context(endpoint.worker_cert_pem, folder / "client.crt", folder / "client.key", alpn)
    except (OSError, ValueError) as error:
        raise IdentityError(
            f"the keys for this worker cannot be used: {error}", "start it again: `%remote down`, then run the cell"
        ) from error


def server_context(cert_path: Path, key_path: Path, client_cert_pem: str) -> ssl.SSLContext:
    """For the worker's side of the same; see ``tls.server_context``."""
    return tls.server_context(cert_path, key_path, client_cert_pem)


def check_folder(path: Path) -> None:
    """Raise IdentityError unless ``path`` is a real folder that belongs to us and that nobody else can enter; LinkError where there
    is none: it goes with its worker, which proves nothing about who anybody is."""
    try:
        info = path.lstat()
    except FileNotFoundError as error:
        what = f"the worker's folder {path} is gone, and so is the worker"
        raise LinkError(what, "run the cell again: it starts a new worker") from error
    except OSError as error:
        raise IdentityError(f"the private folder {path} is not there: {error.strerror}") from error
    if not stat.S_ISDIR(info.st_mode):
        raise IdentityError(f"{path} is not a folder", "somebody else may have put it there: remove it")
    if info.st_uid != os.geteuid():
        raise IdentityError(f"folder {path} belongs to another user", "set c.Cellferry.worker_dir to a folder of yours")
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise IdentityError(f"others may enter the folder {path}, which holds keys", f"type: chmod 700 {path}")


def check_peer(connection: socket.socket) -> None:
    """Raise IdentityError unless a process of our own user listens at the other end of this unix socket."""
    size = struct.calcsize("3i")
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if uid != os.geteuid():
        raise IdentityError(
            f"process {pid} of another user (uid {uid}) answers at the worker's socket",
            "set c.Cellferry.worker_dir to a folder that only you can write",
        )
