"""A stand-in for PyTorch's own index, which uv knows by its address alone: reached through a proxy, with TLS of its own."""

from __future__ import annotations

import datetime
import http.server
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .wheelhouse import Index

HOST = "download.pytorch.org"


@contextmanager
def standing_in(root: Path, keys: Path) -> Iterator[dict[str, str]]:
    """The index of ``root/whl/<build>/<project>/*.whl`` inside of the block: what uv must have in its environment for it."""
    keys.mkdir()
    index = Index(root)
    index.server.socket = _context(keys).wrap_socket(index.server.socket, server_side=True)
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _proxy_to(index.server.server_port))
    proxy.daemon_threads = index.server.daemon_threads = True
    threads = [threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True) for each in (index.server, proxy)]
    for thread in threads:
        thread.start()
    try:
        yield {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_port}", "SSL_CERT_FILE": str(keys / "authority.pem"),
               "UV_HTTP_RETRIES": "0"}  # fmt: skip
    finally:
        for each in (index.server, proxy):
            each.shutdown()
            each.server_close()
        for thread in threads:
            thread.join(10)


def _proxy_to(port: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            if self.path != f"{HOST}:443":
                self.send_error(502)
                return
            with socket.create_connection(("127.0.0.1", port)) as there:
                self.send_response(200)
                self.end_headers()
                here = self.connection
                while ready := select.select([here, there], [], [], 30)[0]:
                    for source in ready:
                        piece = source.recv(1 << 16)
                        if not piece:
                            return
                        (there if source is here else here).sendall(piece)

        def log_message(self, *args: object) -> None:
            pass

    return Proxy


def _context(keys: Path) -> ssl.SSLContext:
    """An authority made here, and a certificate of the index signed by it."""
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the authority of a test")])
    now = datetime.datetime.now(datetime.UTC)

    def signed(subject: x509.Name, key: ec.EllipticCurvePrivateKey, ca: bool) -> x509.Certificate:
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )  # fmt: skip
        if not ca:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        return made.sign(authority, hashes.SHA256())

    pem = serialization.Encoding.PEM
    (keys / "authority.pem").write_bytes(signed(name, authority, ca=True).public_bytes(pem))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    (keys / "index.pem").write_bytes(
        signed(subject, own, ca=False).public_bytes(pem)
        + own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "index.pem")
    return context
