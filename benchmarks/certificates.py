"""One self-signed certificate for a TLS contender; both ends present it and trust only it (mutual, pinned)."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """An EC P-256 key and a certificate of it, valid for a day: (certificate, key)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "benchmark")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate = built.sign(key, hashes.SHA256())
    certificate_path, key_path = folder / "bench.crt", folder / "bench.key"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_path, key_path


def mutual_context(server_side: bool, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 with the library's own choice of cipher; exactly this certificate is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    return context
