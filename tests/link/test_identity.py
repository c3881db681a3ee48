"""Keys are made once, privately; folders that others may enter are refused."""

from __future__ import annotations

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cellferry.errors import IdentityError, LinkError
from cellferry.link.identity import check_folder, client_context, make_identity, server_context
from cellferry.model import Endpoint
from cellferry.parcels import identity as keys


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "p"
    folder.mkdir(mode=0o700)
    return folder


def test_a_pair_is_made_once_and_private(private: Path) -> None:
    made = make_identity(private)
    assert stat.S_IMODE(made.key_path.stat().st_mode) == stat.S_IMODE(made.cert_path.stat().st_mode) == 0o600
    assert "PRIVATE KEY" in made.key_path.read_text() and "PRIVATE" not in made.cert_pem
    assert made.cert_path.read_text() == made.cert_pem
    assert len(made.fingerprint) == 64
    assert make_identity(private) == made


def test_two_folders_have_two_keys(private: Path, tmp_path: Path) -> None:
    assert make_identity(private).cert_pem != make_identity(tmp_path / "new").cert_pem
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_pair_is_made_anew_before_it_expires_or_when_it_is_damaged(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_identity(private)
    with monkeypatch.context() as patch:
        patch.setattr(keys, "RENEW_BEFORE", keys.LIFETIME + timedelta(days=1))
        second = make_identity(private)
    assert second.cert_pem != first.cert_pem
    second.cert_path.write_text("nonsense")
    third = make_identity(private)
    third.key_path.unlink()
    assert make_identity(private).cert_pem not in (second.cert_pem, third.cert_pem)


def test_the_certificate_is_a_short_lived_p256_leaf(private: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    certificate = x509.load_pem_x509_certificate(make_identity(private).cert_pem.encode())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=31)


def test_a_file_of_somebody_elses_does_not_receive_the_key(private: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.write_text("")
    (private / "client.key").symlink_to(other)
    make_identity(private)
    assert other.read_text() == "" and not (private / "client.key").is_symlink()


def test_folders_that_are_not_private_are_refused(private: Path, tmp_path: Path) -> None:
    check_folder(private)
    private.chmod(0o750)
    with pytest.raises(IdentityError, match="chmod 700"):
        make_identity(private)
    private.chmod(0o700)
    (tmp_path / "link").symlink_to(private)
    with pytest.raises(IdentityError, match="not a folder"):
        check_folder(tmp_path / "link")
    with pytest.raises(LinkError, match="is gone") as ended:
        check_folder(tmp_path / "none")
    assert not isinstance(ended.value, IdentityError), "it goes with its worker: what became of that is asked of the provider"
    if os.geteuid() == 0:
        os.chown(private, 65534, 65534)
        with pytest.raises(IdentityError, match="another user"):
            check_folder(private)


def test_contexts_speak_tls_1_3_only_and_ask_for_the_other_ends_certificate(private: Path, tmp_path: Path) -> None:
    ours, theirs = make_identity(private), make_identity(tmp_path / "w")
    client = client_context(Endpoint("tls", worker_cert_pem=theirs.cert_pem, client_dir=str(private)))
    server = server_context(theirs.cert_path, theirs.key_path, ours.cert_pem)
    for context in (client, server):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert len(context.get_ca_certs(binary_form=True)) <= 1, "nothing but the pinned certificate is trusted"


def test_missing_keys_are_advice(private: Path, tmp_path: Path) -> None:
    endpoint = Endpoint("tls", worker_cert_pem=make_identity(tmp_path / "w").cert_pem, client_dir=str(private))
    with pytest.raises(IdentityError, match="%remote down"):
        client_context(endpoint)


def test_a_clock_that_is_set_back_is_no_stranger(private: Path) -> None:
    """The certificate is pinned: when it was made says nothing about who shows it."""
    made = x509.load_pem_x509_certificate(make_identity(private).cert_pem.encode())
    assert made.not_valid_before_utc < datetime.now(UTC) - timedelta(days=6)
    assert made.not_valid_after_utc > datetime.now(UTC) + timedelta(days=28)
