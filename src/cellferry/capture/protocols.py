"""Which packages a cell needs beside those that it imports, because it names URLs that fsspec serves through them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs",
    "gs": "gcsfs", "gcs": "gcsfs",
    "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "adl": "adlfs",
    "hf": "huggingface_hub",
    "sftp": "paramiko", "ssh": "paramiko",
    "smb": "smbprotocol",
    "webhdfs": "requests", "github": "requests", "gist": "requests", "dbfs": "requests",
    "jupyter": "requests", "jlab": "requests",
    "hdfs": "pyarrow", "arrow_hdfs": "pyarrow",
    "oss": "ossfs", "oci": "ocifs", "ocilake": "ocifs", "tos": "tosfs", "tosfs": "tosfs",
    "lakefs": "lakefs-spec", "webdav": "webdav4", "wandb": "wandbfs", "dvc": "dvc", "box": "boxfs",
    "dropbox": "dropboxdrivefs", "root": "fsspec-xrootd", "git": "pygit2", "libarchive": "libarchive-c",
}  # fmt: skip
"""Protocol -> distribution, from ``fsspec.registry.known_implementations`` (2026.9): the package of the class, or what
its own text says must be installed. Protocols that fsspec serves by itself (file, memory, zip ...) are not here."""

_CHAINED_ONLY = {"http": "aiohttp", "https": "aiohttp"}
"""Read without fsspec by pandas, requests and everybody else: only a chain of URLs (``simplecache::https://``) is sure."""

_URL = re.compile(r"(?<![\w+.-])([A-Za-z][A-Za-z0-9_+.-]*)://(?=[^\s/]|/[^\s/])")
_CHAIN = re.compile(r"[a-z0-9_]+(?:://[^\s:]*)?::")


def protocol_packages(strings: Iterable[str], *, fsspec_named: bool = False) -> dict[str, str]:
    """Protocol -> distribution that provides its fsspec backend, for every URL in these texts.

    ``fsspec_named``: the cell imports fsspec (or what stands on it), so ``http(s)://`` needs its backend too; otherwise
    these count only in a chain such as ``simplecache::https://``. Called with the strings of a cell and its functions.
    """
    found: dict[str, str] = {}
    for text in strings:
        for match in _URL.finditer(text):
            protocol = match[1].lower()
            if protocol in _PACKAGES:
                found[protocol] = _PACKAGES[protocol]
            elif protocol in _CHAINED_ONLY and (fsspec_named or _chained(text[: match.start()])):
                found[protocol] = _CHAINED_ONLY[protocol]
    return found


def _chained(before: str) -> bool:
    """Whether what stands before a URL, up to the last blank, is the beginning of a chain."""
    words = before.split()
    return bool(words) and before[-1:] == ":" and _CHAIN.search(words[-1]) is not None
