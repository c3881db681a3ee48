"""Notebook 7 in a real browser, in an environment without any extension of ours: the magic needs none."""

from __future__ import annotations

import os
import re
import sys

import nbformat

from doors.browser import kernel_is_idle, looking, looks, run_all, serving, shoot

pytestmark = looks

CELLS = [
    "%load_ext cellferry",
    "%%remote\nimport ipywidgets\nseen = ipywidgets.Label(value='nothing yet')\n"
    "slider = ipywidgets.IntSlider(value=3, max=50, description='remote')\n"
    "slider.observe(lambda change: setattr(seen, 'value', f\"the worker saw {change['new']}\"), 'value')\n"
    "display(ipywidgets.VBox([slider, seen]))",
    "%%remote\nfrom tqdm.notebook import tqdm\nimport matplotlib.pyplot as plt\n"
    "for step in tqdm(range(20), desc='training'):\n    total = step\nplt.plot([1, 3, 2]);",
    "%%remote gpu=a100 provider=demo budget=1 name=short\nfound = 40 + 2",
    "print('back here:', total, found)\n%remote down short",
]


def test_a_notebook_with_widgets_progress_and_a_machine(tmp_path):
    from playwright.sync_api import expect

    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    page.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(page, folder / "notebook.ipynb")
    environ = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path / "r"),
               "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "w"),
               "CELLFERRY_STATE_DIR": str(tmp_path / "state")}
    command = (sys.executable, "-m", "notebook", "--IdentityProvider.token=", "--JupyterNotebookApp.expose_app_in_browser=True")
    (tmp_path / "labconfig").mkdir()
    (tmp_path / "labconfig" / "page_config.json").write_text('{"disabledExtensions": {"@cellferry/lab": true}}')
    with (
        serving(command, folder, environ, tmp_path / "server.log") as address,
        looking(f"{address}/notebooks/notebook.ipynb", tmp_path) as view,
    ):
        expect(view.locator(".jp-CodeCell").first).to_be_visible()
        kernel_is_idle(view)
        assert view.locator("#cellferry-panel").count() == 0
        assert run_all(view) == []
        expect(view.get_by_text("back here: 19 42", exact=True)).to_be_visible()
        expect(view.get_by_text(re.compile("20/20"))).to_be_visible()
        expect(view.locator(".jp-OutputArea-output img").first).to_be_visible()
        expect(view.get_by_text(re.compile(r"simulated\): "))).to_be_visible()
        handle = view.locator(".widget-slider .noUi-handle").first
        handle.hover()  # which waits until the page does not move any more
        at = handle.bounding_box()
        view.mouse.down()
        view.mouse.move(at["x"] + 60, at["y"] + at["height"] / 2, steps=5)
        view.mouse.up()
        expect(view.get_by_text(re.compile(r"the worker saw \d+"))).to_be_visible()
        shoot(view, tmp_path, "notebook7")
