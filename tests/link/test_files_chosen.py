"""Which files travel: what a cell names, what never goes, what .gitignore names, and how they are cut into chunks."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.errors import BadValue
from cellferry.link.files import left_behind, not_found
from cellferry.link.ignored import Ignored
from cellferry.link.never_sent import is_litter, why_secret
from cellferry.link.progress import Progress, bar
from cellferry.link.store_s3 import PART_BYTES, batches
from cellferry.link.wanted import reaches, wanted
from cellferry.parcels.filechunks import (
    NAME_BYTES,
    STEP_BYTES,
    chunk_names,
    file_digests,
    missing_ranges,
    same_chunks,
    wrong_names,
)
from cellferry.parcels.leaves import CHUNK_BYTES, DIGEST_BYTES

KEY = b"-----BEGIN " + b"OPENSSH PRIVATE KEY-----\nabc\n"


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", "deep/.envrc", ".ssh/config", ".aws/credentials", ".kube/config", ".netrc", ".pgpass",
     ".pypirc", "id_rsa", "keys/id_ed25519", "id_ed25519_sk", "credentials.json", "store.p12", "id_rsa.old"],
)  # fmt: skip
def test_secrets_are_known_by_their_names(name: str) -> None:
    assert why_secret(name)


@pytest.mark.parametrize(
    "name", ["data.csv", "id_rsa.pub", "environment.yml", "credentials_study.csv", "a.key", "c.pem"]
)
def test_others_are_not(name: str) -> None:
    assert not why_secret(name, b"-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("kind", ["RSA ", "EC ", "", "ENCRYPTED ", "OPENSSH "])
def test_a_private_key_is_known_by_what_it_holds(kind: str) -> None:
    assert why_secret("harmless.txt", f"# mine\n-----BEGIN {kind}PRIVATE KEY-----\n".encode())


def test_litter_is_known_wherever_it_lies() -> None:
    assert is_litter(".git/config") and is_litter("a/__pycache__/b.pyc") and is_litter("a/node_modules")
    assert not is_litter("gitlog.txt") and not is_litter("venv.txt")


def test_ignored_is_what_git_ignores(tmp_path: Path) -> None:
    """Held against git itself."""
    top, folder = tmp_path / "top", tmp_path / "top" / "notebooks"
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "kept").mkdir()
    (top / ".gitignore").write_text("*.log\n/notebooks/data/\n!important.log\n# note\nkept/*\n!kept/this.txt\n")
    (folder / ".gitignore").write_text("*.tmp\n!good.tmp\n")
    names = ["a.log", "important.log", "data/x.csv", "data/raw/y.csv", "kept/this.txt", "kept/that.txt", "b.tmp",
             "good.tmp", "plain.csv", "data/important.log"]  # fmt: skip
    for name in names:
        (folder / name).write_text("x")
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    asked = subprocess.run(["git", "check-ignore", *names], cwd=folder, capture_output=True, text=True)
    ignored = Ignored(folder)
    assert [name for name in names if name in ignored] == asked.stdout.split()


def test_files_outside_of_the_repository_are_not_ignored(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / ".gitignore").write_text("*")
    assert "x" in Ignored(folder) and "../x" not in Ignored(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "a" / "b" / "c" / "d" / "notebook"
    for place in (found / "data", found / ".git", found / "data" / "__pycache__"):
        place.mkdir(parents=True)
    for name in ("one.csv", "data/x.csv", "data/y.csv", "data/z.txt", ".git/config", "data/__pycache__/m.pyc"):
        (found / name).write_text(name)
    (found / "data" / "server.pem").write_bytes(KEY)
    (found / ".env").write_text("TOKEN=1")
    (found / ".gitignore").write_text("*.txt\n")
    for up in found.parents[:5]:
        (up / "far.csv").write_text("far")
    return found


def test_strings_name_files_patterns_and_folders(folder: Path) -> None:
    found = wanted(folder, ["one.csv", "./data/../one.csv", "data/*.csv", "data", "no.csv", "."], (), ())
    assert sorted(found.named) == ["data/x.csv", "data/y.csv", "one.csv", "one.csv"]
    assert [sorted(group) for group in found.perhaps] == [["data/x.csv", "data/y.csv"]]
    assert not found.secret and not found.ignored, "only what is named literally is worth a line"


def test_what_is_named_but_stays_is_told(folder: Path) -> None:
    found = wanted(folder, [".env", "data/server.pem", "data/z.txt", ".git/config"], (), ())
    assert not found.named and set(found.secret) == {".env", "data/server.pem"} and found.ignored == ["data/z.txt"]
    told = left_behind(found, ["/data/far.csv"])
    assert any("files=data/z.txt" in line for line in told)
    assert any("never travel" in line for line in told) and any("!ln -s /data/far.csv" in line for line in told)
    assert wanted(folder, ["data/z.txt"], (), {"data/z.txt"}).named == ["data/z.txt"], "both sides have it already"


def test_a_link_is_judged_by_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("x")
    (folder / "data" / "harmless").symlink_to(tmp_path / ".aws" / "config")
    (folder / "key.csv").symlink_to(folder / "data" / "server.pem")
    (folder / "fine.csv").symlink_to(folder / "one.csv")
    found = wanted(folder, ["data/harmless", "key.csv", "fine.csv"], (), ())
    assert found.named == ["fine.csv"] and set(found.secret) == {"data/harmless", "key.csv"}


def test_three_folders_up_are_within_reach(folder: Path) -> None:
    assert wanted(folder, ["../far.csv", "../../../far.csv"], (), ()).named == ["../far.csv", "../../../far.csv"]
    found = wanted(folder, ["../../../../far.csv", str(folder / "one.csv"), "/no/such/file"], (), ())
    assert not found.named and found.far == ["../../../../far.csv", str(folder / "one.csv")]
    assert wanted(folder, ["..", "../.."], (), ()).perhaps == [], "nobody means the whole folder above"


def test_files_that_are_asked_for(folder: Path) -> None:
    assert wanted(folder, (), ["data/z.txt"], ()).asked == ["data/z.txt"], "ignored by git, but asked for"
    assert sorted(wanted(folder, (), ["data/*"], ()).asked) == ["data/x.csv", "data/y.csv", "data/z.txt"]
    assert wanted(folder, (), ["data/*"], ()).secret, "the key among them is told"
    assert wanted(folder, (), [".git/config"], ()).asked == [".git/config"], "litter that is named exactly"
    for pattern, said in ((".env", "never travels"), ("data/server.pem", "private key"), ("no/*", "matches no file"),
                          ("../../../../far.csv", "ln -s"), ("/etc/hosts", "ln -s")):  # fmt: skip
        with pytest.raises(BadValue, match=said):
            wanted(folder, (), [pattern], ())


@given(st.text(alphabet="./~ab", max_size=12))
def test_what_is_reached_goes_up_three_folders_at_most(name: str) -> None:
    normal = os.path.normpath(name)
    if reaches(normal):
        assert not normal.startswith("/") and not normal.startswith("../../../..")


@given(st.integers(0, 40 * CHUNK_BYTES), st.sets(st.integers(0, 45)))
def test_what_is_missing_and_what_is_there_make_the_file(size: int, present: set[int]) -> None:
    ranges = missing_ranges(size, present)
    assert all(length <= STEP_BYTES for _at, length in ranges)
    covered = {chunk for at, length in ranges for chunk in range(at // CHUNK_BYTES, -(-(at + length) // CHUNK_BYTES))}
    every = set(range(-(-size // CHUNK_BYTES)))
    assert covered | (present & every) == every and not covered & present
    assert size or ranges == [(0, 0)]
    missing = sum(min(CHUNK_BYTES, size - chunk * CHUNK_BYTES) for chunk in every - present)
    assert sum(length for _at, length in ranges) == missing


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_chunks_are_the_same_at_the_same_place(mine: list[int], theirs: list[int]) -> None:
    one, other = (b"".join(bytes([n]) * DIGEST_BYTES for n in numbers) for numbers in (mine, theirs))
    same = [at for at, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a == b]
    assert same_chunks(one, other) == same


def test_names_tell_whether_a_chunk_is_what_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * CHUNK_BYTES + b"b" * 10)
    names = chunk_names(path, [0, 1])
    assert len(file_digests(path)) == 2 * DIGEST_BYTES and len(names) == 2 * NAME_BYTES
    assert wrong_names(path, [0, 1], names) == [] and wrong_names(path, [1, 0], names) == [1, 0]
    assert wrong_names(tmp_path / "none", [0], names) == [0]


@given(st.integers(0, 1 << 46))
def test_parts_of_an_upload_make_the_file(size: int) -> None:
    parts = [part for batch in batches(size) for part in batch]
    assert [number for number, _at, _length in parts] == list(range(1, len(parts) + 1)) and len(parts) <= 10_000
    assert sum(length for _number, _at, length in parts) == size
    assert all(length >= PART_BYTES for _number, _at, length in parts[:-1])
    assert all(at + length == after for (_n, at, length), (_m, after, _l) in itertools.pairwise(parts))


def test_progress_is_told_after_half_a_second() -> None:
    now, seen = [0.0], list[str]()
    progress = Progress("sending", 100, seen.append, lambda: now[0])
    progress.moved(10)
    assert not seen
    now[0] = 0.6
    progress.moved(40)
    progress.moved(1)
    assert len(seen) == 1 and "50 B of 100 B" in seen[0] and "#" * 12 + "-" * 12 in seen[0]
    progress.done()
    assert seen[1:] == [""]


def test_a_quick_transfer_shows_nothing() -> None:
    seen: list[str] = []
    progress = Progress("sending", 0, seen.append, lambda: 0.0)
    progress.moved(0)
    progress.done()
    assert not seen and "[########################]" in bar("x", 0, 0, 0.0)


def test_an_unknown_name_is_answered_with_what_there_is() -> None:
    assert "a.bin (5 B, default)" in str(not_found("x", {"default": {"a.bin": 5}})) and "no files" in str(
        not_found("x", {})
    )

