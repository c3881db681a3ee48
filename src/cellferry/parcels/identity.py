"""Make the key and the self-signed certificate by which one end of a connection is known to the other.

Keys are made on the machine that uses them, and never leave it; only the certificate travels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

LIFETIME = timedelta(days=30)
RENEW_BEFORE = timedelta(days=1)
CLOCK_SKEW = timedelta(days=7)
"""A certificate is valid from so long before it was made: it is pinned, so that this protects nobody, and the clocks of the two
ends may differ, or be set, by hours."""


@dataclass(frozen=True)
class KeyPair:
    """A private key (EC P-256) and its certificate, as two PEM files that only this user can read."""

    cert_pem: str
    cert_path: Path
    key_path: Path
    fingerprint: str
    """SHA-256 of the certificate in hexadecimal, as ``openssl x509 -fingerprint -sha256`` computes it."""


def make_key_pair(folder: Path, name: str) -> KeyPair:
    """``name.key`` and ``name.crt`` in ``folder``; a pair that is there and does not expire soon is used again.

    The caller has made sure that the folder is private. Raises OSError.
    """
    key_path, cert_path = folder / f"{name}.key", folder / f"{name}.crt"
    cert_pem = _usable(cert_path, key_path)
    if cert_pem is None:
        key_pem, cert_pem = _generate()
        _write_private(key_path, key_pem)
        _write_private(cert_path, cert_pem)  # last: a certificate that is there has its key
    return KeyPair(cert_pem, cert_path, key_path, fingerprint(cert_pem))


def fingerprint(cert_pem: str) -> str:
    """SHA-256 of the certificate, in hexadecimal."""
    from hashlib import sha256
    from ssl import PEM_cert_to_DER_cert

    return sha256(PEM_cert_to_DER_cert(cert_pem)).hexdigest()


def _usable(cert_path: Path, key_path: Path) -> str | None:
    from cryptography import x509

    try:
        if not key_path.stat().st_size:
            return None
        cert_pem = cert_path.read_text("ascii")
        expires = x509.load_pem_x509_certificate(cert_pem.encode()).not_valid_after_utc
    except (OSError, ValueError):
        return None
    return cert_pem if expires - RENEW_BEFORE > datetime.now(UTC) else None


def _generate() -> tuple[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    # Nobody looks at the name: the certificate is pinned as a whole.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cellferry")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # a file of somebody else's with that name must not receive it
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
