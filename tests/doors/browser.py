"""A Jupyter server of its own and a browser that looks at it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_server_end import end

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE_MS = 90_000

looks = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")]
"""For ``pytestmark``."""


@contextlib.contextmanager
def serving(command: Sequence[str | Path], folder: Path, environ: Mapping[str, str], log: Path, check: str = "api") -> Iterator[str]:
    """``command`` with the options of a server on a port of its own, run in ``folder``; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    with log.open("wb") as file:
        server = subprocess.Popen([*command, *options], env=environ, cwd=folder, stdout=file, stderr=file)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/{check}", server, log)
        yield address
    finally:
        end(server)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers: connecting again is all that one can do with a server that is not there yet."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(1200):
        try:
            opener.open(address, timeout=1).close()
            return
        except OSError:
            try:
                server.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            break
    raise AssertionError(log.read_text()[-2000:])


@contextlib.contextmanager
def looking(at: str, folder: Path) -> Iterator[Any]:
    """A page of chromium at this address; ``folder`` is for what chromium leaves."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=FLAGS, env={**os.environ, "XDG_RUNTIME_DIR": str(folder)})
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.on("console", lambda message: print("console:", message.text[:300]))
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.goto(at)
        try:
            yield page
        except BaseException:
            shoot(page, folder, "failed")
            raise
        browser.close()


def kernel_is_idle(page: Any) -> None:
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")


def run_all(page: Any, within_ms: int = 10 * PATIENCE_MS) -> list[str]:
    """Run the notebook to its end, or to a cell that fails; the errors that are in it then, each as "name: words"."""
    page.evaluate(
        "() => { window.ranAll = false;"
        " window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.ranAll = true; }); }")
    page.wait_for_function("() => window.ranAll", timeout=within_ms)
    return page.evaluate(
        "() => [...window.jupyterapp.shell.currentWidget.content.model.cells].filter(cell => cell.type === 'code')"
        ".flatMap(cell => cell.outputs.toJSON()).filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`)")


def shoot(page: Any, folder: Path, name: str) -> None:
    """A picture of the page, for someone to look at."""
    page.screenshot(path=Path(os.environ.get("CELLFERRY_SCREENSHOTS", folder)) / f"{name}.png")
