"""What a cell reads from a URL is read by the worker itself: it does not pass the notebook."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from .conftest import NewUser
from .stores import s3

__all__ = ["s3"]

REPORT = "getattr(get_ipython(), '_cellferry').last_report"
ROWS = 200_000
TABLE = b"n\n" + b"".join(b"%d\n" % n for n in range(ROWS))


class Web(ThreadingHTTPServer):
    """Serves one table and notes which processes ask for it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.peers: list[int | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/table.csv"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ports = {c.laddr.port: c.pid for c in psutil.net_connections("tcp4") if c.laddr}
        self.server.peers.append(ports.get(self.client_address[1]))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(TABLE)))
        self.end_headers()
        self.wfile.write(TABLE)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(TABLE)))
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_pandas_reads_https_there(new_user: NewUser, web: Web, transport: str) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport)
    there = int(user.sees("%%remote\nimport os\nos.getpid()"))
    user.sees(f"%%remote\nimport pandas as pd\ntotal = int(pd.read_csv({web.url!r})['n'].sum())")
    assert user.has("total") == ROWS * (ROWS - 1) // 2
    assert web.peers == [there]
    assert user.has(f"{REPORT}.received_bytes + {REPORT}.sent_bytes") < 50_000 < len(TABLE)


def test_fsspec_reads_http_there(new_user: NewUser, web: Web) -> None:
    user = new_user()
    there = int(user.sees("%%remote\nimport os\nos.getpid()"))
    user.sees(f"%%remote\nimport fsspec\nwith fsspec.open({web.url!r}) as file: size = len(file.read())")
    assert user.has("size") == len(TABLE) and set(web.peers) == {there}
    assert user.has(f"{REPORT}.received_bytes + {REPORT}.sent_bytes") < 50_000


def test_pandas_reads_s3_there(new_user: NewUser, s3: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "s3" / "bucket" / "table.csv").write_bytes(TABLE)
    user = new_user(**s3)
    user.sees(
        f"%%remote secrets={','.join(s3)}\nimport sys\nimport pandas as pd\n"
        "total = int(pd.read_csv('s3://bucket/table.csv')['n'].sum())\nloaded = 's3fs' in sys.modules"
    )
    assert user.has("total") == ROWS * (ROWS - 1) // 2 and user.has("loaded")
    assert not user.has("'s3fs' in __import__('sys').modules"), "nobody here has read it"
    assert user.has(f"{REPORT}.received_bytes + {REPORT}.sent_bytes") < 50_000


def test_gs_without_its_package_fails_as_fsspec_says_there(new_user: NewUser) -> None:
    name, text = new_user().is_told("%%remote\nimport fsspec\nfsspec.open('gs://bucket/x').open()")
    assert name == "ImportError" and "gcsfs" in text
