"""Packages that URLs need, held against fsspec's own registry."""

from __future__ import annotations

import pytest
from fsspec.registry import known_implementations
from hypothesis import given
from hypothesis import strategies as st

from cellferry.capture.protocols import _PACKAGES, protocol_packages


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("s3://bucket/key.parquet", {"s3": "s3fs"}),
        ("S3://bucket/key", {"s3": "s3fs"}),
        ("gs://b/x and gcs://c/y", {"gs": "gcsfs", "gcs": "gcsfs"}),
        ("abfs://c@a.dfs.core.windows.net/x", {"abfs": "adlfs"}),
        ("az://c/x", {"az": "adlfs"}),
        ("hf://datasets/a/b", {"hf": "huggingface_hub"}),
        ("sftp://host/x", {"sftp": "paramiko"}),
        ("simplecache::s3://b/k", {"s3": "s3fs"}),
        ("zip://a.csv::gs://b/k.zip", {"gs": "gcsfs"}),
        ("webhdfs://host:1/x", {"webhdfs": "requests"}),
        ("https://example.org/x.csv", {}),
        ("simplecache::https://example.org/x.csv", {"https": "aiohttp"}),
        ("zip://*.csv::http://example.org/x.zip", {"http": "aiohttp"}),
        ("file:///tmp/x", {}),
        ("postgresql://host/db", {}),
        ("s3://", {}),
        ("no url", {}),
        ("git+ssh://host/x", {}),
    ],
)
def test_a_url_names_its_package(text: str, found: dict[str, str]) -> None:
    assert protocol_packages([text]) == found


def test_plain_http_counts_where_fsspec_is_named() -> None:
    assert protocol_packages(["https://example.org"], fsspec_named=True) == {"https": "aiohttp"}


def test_the_table_is_fsspecs_own() -> None:
    """Every protocol is one that fsspec knows, and the package is the one that its class or its advice names."""
    for protocol, package in _PACKAGES.items():
        if protocol == "abfss":  # registered by adlfs itself
            continue
        entry = known_implementations[protocol]
        said = (entry["class"] + " " + entry.get("err", "")).lower().replace("-", "_")
        module = {"libarchive-c": "libarchive"}.get(package, package).lower().replace("-", "_")
        assert module in said, f"{protocol}: {said}"


@given(st.lists(st.text(max_size=40)))
def test_no_text_is_too_odd(strings: list[str]) -> None:
    assert set(protocol_packages(strings)) <= set(_PACKAGES) | {"http", "https"}
