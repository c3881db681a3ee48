"""A notebook open in JupyterLab, as someone sees and handles it who looks and clicks."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat

from jupyter_server_end import end

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE_MS = 90_000
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
_TABS = (f"tab-{number}" for number in itertools.count())
KERNELS = {"python3": "Python 3 (ipykernel)", "cellferry": "Python 3 (cellferry)"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_notebook(path, cells, *, kernel="cellferry", metadata=None):
    """``cells``: sources, or (source, the cell's ``cellferry`` metadata)."""
    page = nbformat.v4.new_notebook()
    for number, cell in enumerate(cells):
        source, ours = cell if isinstance(cell, tuple) else (cell, None)
        new = nbformat.v4.new_code_cell(source, id=f"cell-{number}")
        if ours is not None:
            new.metadata["cellferry"] = ours
        page.cells.append(new)
    page.metadata["kernelspec"] = {"name": kernel, "display_name": KERNELS[kernel], "language": "python"}
    page.metadata.update(metadata or {})
    nbformat.write(page, path)


@contextlib.contextmanager
def jupyter_lab(tmp_path, folder, **settings):
    """A JupyterLab over ``folder``; gives its address. ``settings``: environment variables for it."""
    quiet = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    port = free_port()
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "w"),
                   "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "r"),
                   "CELLFERRY_CACHE_DIR": str(tmp_path / "cache"), "CELLFERRY_STATE_DIR": str(tmp_path / "state"),
                   **settings}
    with (tmp_path / "lab.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
             "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True",
             f"--notebook-dir={folder}"],
            env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status", server, tmp_path / "lab.log")
        yield f"http://127.0.0.1:{port}/lab"
    finally:
        end(server)


def wait_for(address, server, log):
    """Until the server answers: connecting again is all that one can do with a server that is not there yet."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
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
def chromium(tmp_path):
    """A browser."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=FLAGS, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


class NotebookPage:
    """One browser tab with a notebook."""

    def __init__(self, browser, lab, path, *, context=None, prepare=None):
        self.context = context or browser.new_context(viewport={"width": 1100, "height": 900})
        self.page, self.address = self.context.new_page(), (lab, path)
        self.said = []
        """What the page wrote on the console that is a warning or an error and names us."""
        self.page.on("console", self._heard)
        self.page.set_default_timeout(PATIENCE_MS)
        if prepare:
            prepare(self.page)
        self.page.goto(f"{lab}/workspaces/{next(_TABS)}/tree/{path}?reset")
        self.ready()

    def beside(self):
        """The same notebook in another tab of the same browser."""
        lab, path = self.address
        return NotebookPage(None, lab, path, context=self.context)

    def _heard(self, message):
        print("console:", message.type, message.text[:300])
        if message.type in ("error", "warning") and "cellferry" in message.text:
            self.said.append(message.text)

    def ready(self):
        """Until the notebook is there, with its kernel idle."""
        from playwright.sync_api import expect

        expect(self.page.locator(".jp-Notebook .jp-CodeCell").first).to_be_visible()
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")

    def cell(self, number):
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def line(self, number):
        """What stands below a cell's text."""
        return self.cell(number).locator(".cf-Line")

    def choose(self, number, item):
        """Click the chip of a cell and then an item of the menu."""
        self.cell(number).locator(".jp-InputArea-editor").click()
        self.cell(number).locator(".cf-Chip .cf-Badge").click()
        self.page.locator(".cf-Menu .lm-Menu-item", has_text=item).first.click()

    def metadata(self, number):
        """The cell's own metadata under ``cellferry``; None if there is none."""
        return self.page.evaluate(
            "n => window.jupyterapp.shell.currentWidget.content.widgets[n].model.getMetadata('cellferry') ?? null", number)

    def source(self, number):
        return self.page.evaluate(
            "n => window.jupyterapp.shell.currentWidget.content.widgets[n].model.sharedModel.getSource()", number)

    def is_dirty(self):
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.model.dirty")

    def command(self, name, args=None):
        """Start a command, without waiting for its end."""
        self.page.evaluate("([name, args]) => { window.jupyterapp.commands.execute(name, args); }", [name, args or {}])

    def save(self):
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def run(self, number):
        """Run one cell; does not wait."""
        self.page.evaluate("n => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = n; }", number)
        self.command("notebook:run-cell")

    def shoot(self, tmp_path, name):
        """A picture of the page, for someone to look at."""
        self.page.screenshot(path=Path(os.environ.get("CELLFERRY_SCREENSHOTS", tmp_path)) / f"{name}.png")

    def faults(self, where):
        """What axe-core finds serious or critical inside of a selector."""
        self.page.add_script_tag(content=AXE.read_text())
        found = self.page.evaluate("where => axe.run(where, {resultTypes: ['violations']})", where)
        return [f"{one['id']}: {json.dumps([node['html'] for node in one['nodes']])[:600]} {one['nodes'][0]['failureSummary']}"
                for one in found["violations"] if one["impact"] in ("serious", "critical")]
