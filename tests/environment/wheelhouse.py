"""Small packages made in the test: wheels, and an index on loopback that may ask for a password."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> Path:
    """A wheel of these files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    whole = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    rows = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in whole.items()]
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**whole, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"}.items():
            archive.writestr(path, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def install_by_hand(site: Path, wheel: Path, **more: str) -> Path:
    """Unpack a wheel into ``site``, with further files in its ``.dist-info`` (``direct_url_json=…``); returns that folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    name, version = wheel.name.split("-")[:2]
    info = site / f"{name}-{version}.dist-info"
    for file, text in more.items():
        (info / file.replace("_json", ".json")).write_text(text)
    return info


class Index:
    """A ``simple`` index of the folders ``root/<project>/*.whl`` on loopback; ``user``/``password`` if it asks for them."""

    def __init__(self, root: Path, user: str = "", password: str = "") -> None:
        self.root, self.user, self.password = root, user, password
        self.served: list[str] = []
        self.refused = 0
        index = self
        wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(root))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                if user and self.headers.get("Authorization") != wanted:
                    index.refused += 1
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="index"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                index.served.append(self.path)
                super().do_GET()

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def full_url(self) -> str:
        """With credentials, as a user writes it."""
        return self.url.replace("//", f"//{self.user}:{self.password}@") if self.user else self.url


@contextmanager
def serving(root: Path, user: str = "", password: str = "") -> Iterator[Index]:
    """An index that answers inside of the block."""
    index = Index(root, user, password)
    thread = threading.Thread(target=index.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.server.shutdown()
        index.server.server_close()
        thread.join(10)
        assert not thread.is_alive()
