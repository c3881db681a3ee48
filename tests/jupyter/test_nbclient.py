"""A notebook run headless by nbclient, as nbconvert and papermill do: what is saved is what a local run saves."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

CELLS = [
    "%load_ext cellferry",
    "base = 20",
    "%%remote\nimport ipywidgets\nslider = ipywidgets.IntSlider(value=base + 1)\ndisplay(slider)",
    "%%remote\nprint('text')\nout = ipywidgets.Output()\ndisplay(out)\nwith out:\n    print('captured')\nbase * 2",
    "_ + 2",
]


def run(tmp_path, cells):
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(page, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    try:
        client.execute()
    except CellExecutionError as error:
        return page, error
    return page, None


def results(page):
    return [[o.data["text/plain"] for o in cell.outputs if o.output_type == "execute_result"] for cell in page.cells]


def test_outputs_and_widgets_are_saved(tmp_path):
    page, error = run(tmp_path, CELLS)
    assert error is None
    assert results(page) == [[], [], [], ["40"], ["42"]]
    assert page.cells[3].outputs[0].text == "text\n"
    states = page.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    assert 21 in [state["state"].get("value") for state in states]
    captured = [state["state"]["outputs"] for state in states if state["model_name"] == "OutputModel"]
    assert captured[0][0]["text"] == "captured\n"


def test_an_error_stops_the_run(tmp_path):
    page, error = run(tmp_path, ["%load_ext cellferry", "%%remote\n1 / 0", "'never'"])
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")
    assert page.cells[2].execution_count is None
