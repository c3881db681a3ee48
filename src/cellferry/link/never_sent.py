"""Files that never travel: secrets by their name or their first bytes, and litter that nobody means. Pure.

``why_secret`` is for everybody who sends files.
"""

from __future__ import annotations

import re
from pathlib import PurePath

HEAD_BYTES = 8192
"""How much of a file ``why_secret`` wants to see."""

_SECRET_FOLDERS = {".ssh", ".aws", ".azure", ".gnupg", ".kube", ".docker", ".gcloud", "gcloud", ".oci"}
_SECRET_NAMES = {
    ".netrc", "_netrc", ".pgpass", "pgpass.conf", ".pypirc", ".npmrc", ".git-credentials", ".htpasswd", ".my.cnf",
    ".s3cfg", ".boto", "credentials", "credentials.json", "kubeconfig", "application_default_credentials.json",
}  # fmt: skip
_SECRET_SUFFIXES = {".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx"}
_KEY_NAME = re.compile(r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?([._-](?!pub$).*)?$")
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_LITTER = {
    ".git", ".hg", ".svn", "node_modules", "__pycache__", ".ipynb_checkpoints", ".venv", ".cache", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".hypothesis", ".tox", ".nox", ".DS_Store",
    ".cellferry-earlier",
}  # fmt: skip


def why_secret(name: str, head: bytes = b"") -> str:
    """Why the file ``name`` (relative, whatever its folder) with these first bytes must not leave; "" if it may."""
    path = PurePath(name)
    for part in path.parts:
        if part in _SECRET_FOLDERS:
            return f"{part} holds credentials"
    last = path.name
    if any(part.startswith(".env") for part in path.parts):
        return "files named .env hold secrets"
    if last.lower() in _SECRET_NAMES:
        return f"{last} holds credentials"
    if path.suffix.lower() in _SECRET_SUFFIXES or _KEY_NAME.match(last) or _PRIVATE_KEY.search(head):
        return "it holds a private key"
    return ""


def is_litter(name: str) -> bool:
    """Whether a path is, or lies in, what tools leave behind: version control, caches, installed packages."""
    return any(part in _LITTER or part.endswith(".cellferry-part") for part in PurePath(name).parts)
