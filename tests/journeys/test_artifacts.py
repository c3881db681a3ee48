"""Artifacts that go into a store instead of home: a real S3 server that checks signatures, moto's, and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import NewUser
from .stores import KEY, SECRET, moto, s3

__all__ = ["moto", "s3"]

MIB = 1 << 20


def test_artifacts_go_straight_to_s3_and_are_fetched(new_user: NewUser, s3: dict[str, str], tmp_path: Path) -> None:
    user = new_user(CELLFERRY_ARTIFACT_STORE="s3://bucket/my run/x", **s3)
    told = user.sees(
        "%%remote\nimport os\nos.mkdir('out')\nopen('out/model ü.pt', 'wb').write(b'weights')\nopen('empty', 'w').close()"
    )
    assert "stored in s3://bucket/my run/x/: empty, out/model ü.pt" in told
    kept = tmp_path / "s3" / "bucket" / "my run" / "x"
    assert (kept / "out" / "model ü.pt").read_bytes() == b"weights" and (kept / "empty").read_bytes() == b""
    assert not (user.folder / "out").exists()
    user.sees("%remote down --all")
    assert "out/model ü.pt" in user.sees("%remote get out/*")
    assert (user.folder / "out" / "model ü.pt").read_bytes() == b"weights"
    name, text = user.is_told("%remote get model.pt")
    assert name == "BadValue" and "out/model ü.pt (7 B, s3://bucket/my run/x)" in text


def test_a_large_artifact_goes_in_parts_and_its_fetch_is_taken_up_again(
    new_user: NewUser, s3: dict[str, str], tmp_path: Path
) -> None:
    user = new_user(CELLFERRY_ARTIFACT_STORE="s3://bucket", **s3)
    told = user.sees(
        "%%remote\nimport os, hashlib\ndata = os.urandom(130 << 20)\nopen('large.bin', 'wb').write(data)\n"
        "digest = hashlib.sha256(data).hexdigest()\ndel data"
    )
    assert "stored: s3://bucket/large.bin" in told
    assert (tmp_path / "s3" / "bucket" / "large.bin").stat().st_size == 130 * MIB
    user.sees("%remote down --all")
    user.sees(
        "import cellferry.link.store_s3 as store\nwhole = store.fetch_from\n"
        "def cut(read, *rest):\n"
        "    def some(at):\n"
        "        for number, block in enumerate(read(at)):\n"
        "            if number == 40: raise OSError('cut')\n"
        "            yield block\n"
        "    whole(some, *rest)\n"
        "store.fetch_from = cut"
    )
    assert user.is_told("%remote get large.bin")[0] == "OSError"
    (part,) = user.folder.glob(".large.bin.*-part")
    assert 39 * MIB <= part.stat().st_size <= 41 * MIB
    user.sees(
        "begun = []\ndef seen(read, *rest): whole(lambda at: (begun.append(at), read(at))[1], *rest)\nstore.fetch_from = seen"
    )
    user.sees("%remote get large.bin")
    assert user.has("begun[0]") >= 39 * MIB and not part.exists()
    assert user.has("__import__('hashlib').sha256(open('large.bin', 'rb').read()).hexdigest() == digest")


def test_the_keys_do_not_go_to_the_worker(new_user: NewUser, s3: dict[str, str], tmp_path: Path) -> None:
    """The worker is started without them, as one on another machine is; all that it is told is looked at."""
    keys = tmp_path / "keys"
    keys.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    keyless = s3 | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    user = new_user(CELLFERRY_ARTIFACT_STORE="s3://bucket/p", **keyless)
    user.sees(
        "import os\nfrom cellferry.parcels.lasting import Lasting\nfrom cellferry.parcels.wire import Channel\ntold = []\n"
        "def spied(send):\n"
        "    def spy(self, meta, buffers=(), *rest, **more):\n"
        "        told.append(str(meta) + ''.join(repr(bytes(b)) for b in buffers))\n"
        "        return send(self, meta, buffers, *rest, **more)\n    return spy\n"
        "Channel.send, Lasting.send = spied(Channel.send), spied(Lasting.send)"
    )
    user.sees("%%remote returns=\n1")  # the worker is there before the keys are
    user.sees(f"os.environ['AWS_SHARED_CREDENTIALS_FILE'] = {str(keys)!r}")
    user.sees("del os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY']")
    assert "stored: s3://bucket/p/model.pt" in user.sees("%%remote\nopen('model.pt', 'w').write('x')\nNone")
    assert user.has("any('X-Amz-Signature' in text for text in told)")
    assert not user.has(f"any({SECRET!r} in text for text in told)")
    seen = user.sees("%%remote\nimport os\nsorted(v for n, v in os.environ.items() if n.startswith('AWS_'))")
    assert SECRET not in seen and str(keys) not in seen


def test_what_a_url_allows_is_one_object_for_an_hour(s3: dict[str, str], tmp_path: Path) -> None:
    import urllib.error
    import urllib.request

    from cellferry.link.store_s3 import S3Store

    ((order, _size),) = S3Store("s3://bucket/p").orders("a.txt", 3)
    url = order["parts"][0][0]
    assert "X-Amz-Expires=3600" in url and SECRET not in url
    for other in (url.replace("a.txt", "b.txt"), url.replace("/p/", "/q/")):
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(urllib.request.Request(other, b"abc", method="PUT"))
        assert told.value.code == 403
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(urllib.request.Request(url, b"longer", method="PUT"))
    assert told.value.code == 403
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url)
    assert not list((tmp_path / "s3" / "bucket").rglob("*.txt"))


def test_a_store_that_refuses_leaves_the_file_on_the_worker(new_user: NewUser, s3: dict[str, str]) -> None:
    user = new_user(CELLFERRY_ARTIFACT_STORE="s3://bucket", **(s3 | {"AWS_SECRET_ACCESS_KEY": "another-secret"}))
    told = user.sees("%%remote\nopen('model.pt', 'w').write('x')\nNone")
    assert "model.pt stayed on the worker" in told and "403" in told and "SignatureDoesNotMatch" in told
    user.sees("%remote get model.pt")
    assert (user.folder / "model.pt").read_text() == "x"


def test_another_server_of_the_same_language(new_user: NewUser, moto: dict[str, str]) -> None:
    import boto3

    user = new_user(CELLFERRY_ARTIFACT_STORE="s3://bucket/p", **moto)
    assert "stored: s3://bucket/p/a.txt" in user.sees("%%remote\nopen('a.txt', 'w').write('one')\nNone")
    user.sees("%%remote\nopen('a.txt', 'w').write('two')\nopen('big', 'wb').write(bytes(65 << 20))\nNone")
    client = boto3.session.Session().client("s3")
    assert client.get_object(Bucket="bucket", Key="p/a.txt")["Body"].read() == b"two"
    assert client.head_object(Bucket="bucket", Key="p/big")["ContentLength"] == 65 * MIB
    assert not client.list_multipart_uploads(Bucket="bucket").get("Uploads")


def test_a_bucket_that_is_not_there(new_user: NewUser, moto: dict[str, str]) -> None:
    user = new_user(CELLFERRY_ARTIFACT_STORE="s3://other/p", **moto)
    told = user.sees("%%remote\nopen('a.txt', 'w').write('one')\nopen('big', 'wb').write(bytes(65 << 20))\nNone")
    assert told.count("stayed on the worker") == 2 and told.count("NoSuchBucket") >= 2
    user.sees("%remote get a.txt")
    assert (user.folder / "a.txt").read_text() == "one"


def test_an_upload_that_fails_is_taken_back(moto: dict[str, str]) -> None:
    import boto3

    from cellferry.link.store_s3 import S3Store

    client = boto3.session.Session().client("s3")
    steps = S3Store("s3://bucket/p").orders("big", 200 * MIB)
    next(steps)
    assert client.list_multipart_uploads(Bucket="bucket")["Uploads"]
    steps.close()
    assert not client.list_multipart_uploads(Bucket="bucket").get("Uploads")


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_a_shared_folder_is_a_store(new_user: NewUser, tmp_path: Path, scheme: str) -> None:
    """``local://`` stands for what only fsspec knows: both ends go through it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    user = new_user(CELLFERRY_ARTIFACT_STORE=f"{scheme}://{shared}")
    told = user.sees("%%remote\nopen('a.txt', 'w').write('one')\nNone")
    assert f"stored: {scheme}://{shared}/a.txt" in told
    assert (shared / "a.txt").read_text() == "one" and [p.name for p in shared.iterdir()] == ["a.txt"]
    user.sees("%remote down --all")
    user.sees("%remote get a.txt")
    assert (user.folder / "a.txt").read_text() == "one"
    assert "a.txt (3 B" in user.is_told("%remote get b.txt")[1]


def test_a_store_whose_package_is_missing_is_told_before_the_cell_runs(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_ARTIFACT_STORE="gs://bucket/p")
    name, text = user.is_told("%%remote\nopen('a.txt', 'w').write('one')")
    assert name == "PreflightError" and "gcsfs" in text
    user = new_user(CELLFERRY_ARTIFACT_STORE="bucket/p")
    assert "is no URL" in user.is_told("%%remote\n1")[1]
