"""Artifacts in S3 and what speaks its language: the worker writes by pre-signed URLs, the keys stay here.

A URL allows one PUT of one object (or one part of it) for an hour; see decision 009. boto3 finds keys, region and
endpoint as it does everywhere (environment, profile, ``AWS_ENDPOINT_URL``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cellferry.errors import LinkError
from cellferry.link.artifacts import Moved, Order, Steps, fetch_from, missing_package

VALID_S = 3600
"""How long a pre-signed URL may be used (seconds)."""

LEFT_S = 86400
"""How long one may be used that is left with a run, for its checkpoints: the client may be asleep for that long."""

PART_BYTES = 64 << 20
_MOST_PARTS = 9000
_PARTS_IN_ORDER = 4
_BLOCK_BYTES = 1 << 20


class S3Store:
    """``s3://bucket/prefix``; see ``artifacts.Store``. Raises PreflightError without boto3."""

    def __init__(self, url: str) -> None:
        try:
            import boto3
        except ImportError:
            raise missing_package(url, "boto3") from None
        del boto3
        parts = urlsplit(url)
        self.url = url
        self._bucket, prefix = parts.netloc, parts.path.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._client: tuple[Any, Any] = ((), None)

    @property
    def _s3(self) -> Any:
        """boto3's client; a new one when the user has set other keys, or had none."""
        settings = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        if self._client[0] != settings:
            self._client = _connected(settings)
        return self._client[1]

    def orders(self, name: str, size: int) -> Steps:
        """See ``artifacts.Store``. Large files go in parts; what is not finished is taken back."""
        try:
            if size <= PART_BYTES:
                yield {"parts": [[self._signed("put_object", name, ContentLength=size), 0, size]]}, size
            else:
                yield from self._in_parts(name, size)
        except LinkError:
            raise
        except Exception as exc:
            raise _told(self.url, exc) from exc

    def _in_parts(self, name: str, size: int) -> Steps:
        upload = self._s3.create_multipart_upload(Bucket=self._bucket, Key=self._prefix + name)["UploadId"]
        tags: list[str] = []
        try:
            for batch in batches(size):
                rows = [
                    [self._signed("upload_part", name, UploadId=upload, PartNumber=number, ContentLength=length), at, length]
                    for number, at, length in batch
                ]
                answer = yield {"parts": rows}, sum(length for _number, _at, length in batch)
                tags += answer["tags"]
            done = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
            self._s3.complete_multipart_upload(
                Bucket=self._bucket, Key=self._prefix + name, UploadId=upload, MultipartUpload={"Parts": done}
            )
        except BaseException:
            self._s3.abort_multipart_upload(Bucket=self._bucket, Key=self._prefix + name, UploadId=upload)
            raise

    def left(self, name: str) -> Order:
        """See ``artifacts.Store``: a URL to PUT the object by, good for ``LEFT_S``."""
        return {"put": self._ready("put_object", name)}

    def lent(self, name: str) -> Order:
        """See ``artifacts.Store``."""
        return {"get": self._ready("get_object", name)}

    def _ready(self, what: str, name: str) -> str:
        try:
            return self._signed(what, name, valid_s=LEFT_S)
        except Exception as exc:
            raise _told(self.url, exc) from exc

    def remove(self, folder: str) -> None:
        """See ``artifacts.Store``."""
        try:
            found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}{folder}/")
            for row in found.get("Contents", ()):
                self._s3.delete_object(Bucket=self._bucket, Key=row["Key"])
        except Exception as exc:
            raise _told(self.url, exc) from exc

    def _signed(self, what: str, name: str, valid_s: int = VALID_S, **more: Any) -> str:
        params = {"Bucket": self._bucket, "Key": self._prefix + name, **more}
        method = "GET" if what == "get_object" else "PUT"
        return str(self._s3.generate_presigned_url(what, Params=params, ExpiresIn=valid_s, HttpMethod=method))

    def listing(self) -> dict[str, int]:
        """See ``artifacts.Store``."""
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            rows = [row for page in pages for row in page.get("Contents", ())]
        except Exception as exc:
            raise _told(self.url, exc) from exc
        return {str(row["Key"])[len(self._prefix) :]: int(row["Size"]) for row in rows}

    def fetch(self, name: str, target: Path, moved: Moved) -> None:
        """See ``artifacts.Store``."""
        place = {"Bucket": self._bucket, "Key": self._prefix + name}
        try:
            head = self._s3.head_object(**place)

            def read(at: int) -> Iterator[bytes]:
                body = self._s3.get_object(**place, Range=f"bytes={at}-", IfMatch=head["ETag"])["Body"]
                yield from body.iter_chunks(_BLOCK_BYTES)

            fetch_from(read, int(head["ContentLength"]), str(head["ETag"]), target, moved)
        except (LinkError, OSError):
            raise
        except Exception as exc:
            raise _told(self.url, exc) from exc


def _connected(settings: dict[str, str]) -> tuple[Any, Any]:
    """boto3's client, with the settings it was made under; without those if it has no keys yet."""
    from boto3.session import Session
    from botocore.config import Config

    # other servers know this signature alone, and few of them the checksums that boto3 adds of itself
    config = Config(
        signature_version="s3v4", request_checksum_calculation="when_required",
        response_checksum_validation="when_required", connect_timeout=10, read_timeout=60,
    )  # fmt: skip
    session = Session()  # one of our own: boto3's default one is shared with the user's threads
    return settings if session.get_credentials() else None, session.client("s3", config=config)


def batches(size: int) -> Iterator[list[tuple[int, int, int]]]:
    """(part number, offset, bytes) of a file of ``size`` bytes, some parts at a time, so that no URL grows old. Pure."""
    step = max(PART_BYTES, -(-size // _MOST_PARTS))
    parts = [(at // step + 1, at, min(step, size - at)) for at in range(0, size, step)]
    for first in range(0, len(parts), _PARTS_IN_ORDER):
        yield parts[first : first + _PARTS_IN_ORDER]


def _told(url: str, exc: Exception) -> LinkError:
    """Without what boto3 may print of a request: its words name the operation and the server's answer."""
    return LinkError(f"{url}: {type(exc).__name__}: {' '.join(str(exc).split())[:300]}", "look at it: aws s3 ls " + url)
