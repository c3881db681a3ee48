"""papermill: parameters, a remote cell that uses them, and a notebook of outputs; it sends no metadata of cells."""

from __future__ import annotations

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

pytestmark = pytest.mark.timeout(600)


def written(folder, kernel, cells):
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    page.cells[1].metadata["tags"] = ["parameters"]
    page.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    nbformat.write(page, folder / "in.ipynb")
    return folder / "in.ipynb", folder / "out.ipynb"


def run(paths, **parameters):
    papermill.execute_notebook(*map(str, paths), parameters=parameters, progress_bar=False, cwd=str(paths[0].parent))
    return nbformat.read(paths[1], 4)


def results(page):
    return [o.data["text/plain"] for cell in page.cells for o in cell.get("outputs", ()) if o.output_type == "execute_result"]


@pytest.mark.parametrize("kernel", ["python3", "cellferry"])
def test_parameters_reach_a_remote_cell(tmp_path, kernel):
    load = "%load_ext cellferry" if kernel == "python3" else "'the kernel has it loaded'"
    paths = written(tmp_path, kernel, [load, "rounds = 1", "%%remote\nprint('there')\ndone = list(range(rounds))", "len(done)"])
    page = run(paths, rounds=5)
    assert results(page)[-1] == "5"
    assert [o.text for cell in page.cells for o in cell.get("outputs", ()) if o.output_type == "stream"][-1] == "there\n"


def test_a_remote_error_ends_the_run_and_is_kept(tmp_path):
    paths = written(tmp_path, "cellferry", ["'loaded'", "rounds = 1", "%%remote\nkept = rounds\n1 / 0", "'never'"])
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        run(paths, rounds=3)
    page = nbformat.read(paths[1], 4)
    assert [o.ename for cell in page.cells for o in cell.get("outputs", ()) if o.output_type == "error"] == ["ZeroDivisionError"]
    assert page.cells[-1].execution_count is None
