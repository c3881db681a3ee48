"""Asking a real worker over both transports, and everybody who must not be answered."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cellferry.config import Cellferry
from cellferry.errors import IdentityError, LinkError
from cellferry.link.http import WorkerHttp
from cellferry.link.identity import client_context, make_identity
from cellferry.model import CellRequest, Endpoint, Lease, Order, Worker
from cellferry.parcels.wire import ALPN
from cellferry.providers.local import LocalProvider

PATIENCE_S = 60.0
NOBODY = 65534


class StandinProvider(LocalProvider):
    kernel_module = "standin_guest"


@pytest.fixture(params=["unix", "tls"], scope="module")
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    config = Cellferry(local_transport=request.param, start_timeout_s=PATIENCE_S)
    provider = StandinProvider(config, lambda folder: make_identity(folder).cert_pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "worker"))
        worker = provider.start(Order(CellRequest(), "default", Lease()), lambda line: None)
    yield worker
    provider.stop(worker)


OVER_TLS = pytest.mark.parametrize("worker", ["tls"], indirect=True, scope="module")


def test_questions_and_answers(worker: Worker) -> None:
    http = WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S)
    assert http.get("status")["worker_id"] == worker.id
    assert http.post("kernel/interrupt") == {}
    assert http.get("/api/me")["identity"]["username"] == "owner"
    assert isinstance(http.get("/api/sessions")["items"], list)


def test_a_refusal_is_a_link_error(worker: Worker) -> None:
    http = WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S)
    with pytest.raises(LinkError, match="404"):
        http.get("nonsense")
    with pytest.raises(LinkError, match="405"):
        http.get("stop")


def test_questions_from_many_threads(worker: Worker) -> None:
    http, answers = WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S), []
    threads = [threading.Thread(target=lambda: answers.append(http.get("status")["worker_id"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [worker.id] * 8


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="does not answer"):
        WorkerHttp(Endpoint("unix", path=str(tmp_path / "none"))).get("status")


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(LinkError, match="does not answer"):
            WorkerHttp(Endpoint("unix", path=str(tmp_path / "s")), timeout_s=0.05).get("status")


def test_a_server_that_speaks_something_else(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as strange:
        strange.bind(str(tmp_path / "s"))
        strange.listen()

        def answer() -> None:
            connection, _ = strange.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail server\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(LinkError):
            WorkerHttp(Endpoint("unix", path=str(tmp_path / "s")), timeout_s=PATIENCE_S).get("status")
        thread.join()


def test_a_socket_of_another_user_is_not_talked_to() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    path = f"/tmp/cellferry-test-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    try:
        # Linux keeps the user who called listen(): that is whom a client sees.
        child = os.fork()
        if child == 0:
            os.setuid(NOBODY)
            listener.listen()
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(IdentityError, match="uid 65534"):
            WorkerHttp(Endpoint("unix", path=path), timeout_s=PATIENCE_S).get("status")
    finally:
        listener.close()
        Path(path).unlink()


# -- who must not get in over TLS -----------------------------------------------------------------------------------


def ask(endpoint: Endpoint, context: ssl.SSLContext, alpn: str) -> bytes:
    """What a client gets out of the worker; b"" when it is hung up on. Raises ssl.SSLError when it is refused."""
    with socket.create_connection((endpoint.host, endpoint.port), PATIENCE_S) as raw:
        context.set_alpn_protocols([alpn])
        with context.wrap_socket(raw) as connection:
            # With TLS 1.3 a client only learns that it was refused when it reads.
            connection.sendall(
                b"pid\n" if alpn == ALPN else b"GET /cellferry/v1/status HTTP/1.1\r\nHost: worker\r\n\r\n"
            )
            return connection.recv(100)


DOORS = pytest.mark.parametrize("alpn", [ALPN, "http/1.1", "h2"])


def stranger() -> ssl.SSLContext:
    """A client that trusts whoever answers, and shows nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def refused(endpoint: Endpoint, context: ssl.SSLContext, alpn: str) -> bool:
    try:
        return ask(endpoint, context, alpn) == b""
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return True


@OVER_TLS
@DOORS
def test_the_pinned_client_gets_in(worker: Worker, alpn: str) -> None:
    if alpn == "h2":
        assert refused(worker.endpoint, client_context(worker.endpoint), "h2") is False
    else:
        assert ask(worker.endpoint, client_context(worker.endpoint), alpn)


@OVER_TLS
@DOORS
def test_no_certificate(worker: Worker, alpn: str) -> None:
    assert refused(worker.endpoint, stranger(), alpn)


@OVER_TLS
@DOORS
def test_another_certificate(worker: Worker, tmp_path: Path, alpn: str) -> None:
    other = make_identity(tmp_path / "other")
    context = stranger()
    context.load_cert_chain(other.cert_path, other.key_path)
    assert refused(worker.endpoint, context, alpn)


@OVER_TLS
@DOORS
def test_a_certificate_signed_by_the_pinned_one(worker: Worker, tmp_path: Path, alpn: str) -> None:
    """The pinned certificate is trusted as itself, not as one that vouches for others."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = Path(worker.endpoint.client_dir)
    issuer_key = serialization.load_pem_private_key((folder / "client.key").read_bytes(), None)
    issuer = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    issued = (
        x509.CertificateBuilder()
        .subject_name(issuer.subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .sign(issuer_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "crt").write_bytes(issued.public_bytes(pem) + issuer.public_bytes(pem))
    (tmp_path / "key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = stranger()
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    assert refused(worker.endpoint, context, alpn)


@OVER_TLS
@DOORS
def test_tls_1_2_with_the_right_certificate(worker: Worker, alpn: str) -> None:
    context = client_context(worker.endpoint)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert refused(worker.endpoint, context, alpn)


@OVER_TLS
def test_no_tls_at_all(worker: Worker) -> None:
    for said in (b"CFRYpid\n", b"GET /cellferry/v1/status HTTP/1.1\r\nHost: worker\r\n\r\n"):
        with socket.create_connection((worker.endpoint.host, worker.endpoint.port), PATIENCE_S) as connection:
            connection.sendall(said)
            try:
                assert connection.recv(100) == b""
            except ConnectionResetError:
                pass


@OVER_TLS
def test_the_client_refuses_a_worker_with_another_certificate(worker: Worker, tmp_path: Path) -> None:
    wrong = replace(worker.endpoint, worker_cert_pem=make_identity(tmp_path / "w").cert_pem)
    with pytest.raises(IdentityError, match="do not know each other"):
        WorkerHttp(wrong, timeout_s=PATIENCE_S).get("status")


@OVER_TLS
def test_a_client_without_its_key_is_told_so(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(IdentityError, match="%remote down"):
        WorkerHttp(replace(worker.endpoint, client_dir=str(tmp_path / "empty"))).get("status")
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(IdentityError, match="chmod 700"):
        WorkerHttp(replace(worker.endpoint, client_dir=str(tmp_path / "open"))).get("status")
