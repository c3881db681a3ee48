"""Two ends prove to each other that they hold the same secret, as the first bytes of a connection; the secret is not sent.

The client begins with ``PREAMBLE`` and a nonce; the worker answers with a nonce of its own and its proof; the client sends its
proof, and behind it, without waiting, what it wants. A proof is an HMAC-SHA256 over both nonces and who gives it, so that none
can be sent back or used a second time. Decision 019 says where this is used and why it is no TLS.
"""

from __future__ import annotations

import os
from typing import Literal

PREAMBLE = b"CFPR"
NONCE_BYTES = 32
PROOF_BYTES = 32
SECRET_BYTES = 32


class Exchange:
    """What is said on one connection."""

    def __init__(self, secret: bytes, client_nonce: bytes = b"") -> None:
        """``client_nonce``: what the client sent; a client leaves it out, and sends its own."""
        if len(secret) < SECRET_BYTES:
            raise ValueError("the secret is too short")
        self._secret, self.client_nonce, self.worker_nonce = (
            secret,
            client_nonce or os.urandom(NONCE_BYTES),
            os.urandom(NONCE_BYTES),
        )

    def proof(self, who: Literal["client", "worker"]) -> bytes:
        """What that end sends."""
        import hmac  # not in the way of a worker that needs none

        return hmac.digest(
            self._secret, b"cellferry 1 " + who.encode() + self.client_nonce + self.worker_nonce, "sha256"
        )

    def holds(self, who: Literal["client", "worker"], proof: bytes) -> bool:
        """Whether that end has proved it."""
        import hmac

        return hmac.compare_digest(self.proof(who), proof)


def read_secret(text: str) -> bytes:
    """From the content of ``PROOF_FILE``. Raises ValueError for anything else."""
    secret = bytes.fromhex(text.strip())
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes")
    return secret
