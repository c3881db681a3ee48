"""``examples/tour.ipynb``, run as nbclient runs it in kernel ``cellferry``: what it promises in its text is what it shows."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.timeout(600)
TOUR = Path(__file__).parents[2] / "examples" / "tour.ipynb"


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """The notebook after a run, with a ledger of its own."""
    folder = tmp_path_factory.mktemp("tour")
    page = nbformat.read(TOUR, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLFERRY_STATE_DIR", str(folder / "state"))
        client = NotebookClient(page, timeout=180, resources={"metadata": {"path": str(folder)}})
        client.execute()
    assert [path.name for path in folder.iterdir()] == ["state"], "nothing lies beside it"
    return page


def shown(page, source):
    """All text that the cell which has ``source`` in it showed."""
    (cell,) = [cell for cell in page.cells if cell.cell_type == "code" and source in cell.source]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def test_it_is_kept_without_outputs():
    page = nbformat.read(TOUR, 4)
    nbformat.validate(page)
    assert all(cell.execution_count is None and not cell.outputs for cell in page.cells if cell.cell_type == "code")
    assert page.metadata.kernelspec.name == "cellferry"


def test_only_the_cell_without_money_fails(tour):
    failed = [cell for cell in tour.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
    assert [cell.metadata.get("tags") for cell in failed] == [["raises-exception"]]
    assert failed[0].outputs[-1].ename == "BudgetSpent"
    assert "the loop had come to" in shown(tour, "the loop had come to")


def test_offers_failover_and_a_figure_that_is_one(tour):
    assert "demo (simulated)" in shown(tour, "%remote offers")
    (training,) = [cell for cell in tour.cells if "display_id=True" in cell.source]
    assert "no capacity" in shown(tour, "display_id=True"), "the first machine is not to be had"
    assert sum("image/png" in output.get("data", {}) for output in training.outputs) == 1
    assert "simulated): " in training.outputs[-1].data["text/plain"]
    assert "told apart" in shown(tour, "are told apart")


def test_a_cell_is_let_go_and_collected(tour):
    assert "499500" in shown(tour, "meanwhile, here") and "trainer" in shown(tour, "meanwhile, here")
    assert shown(tour, "%remote attach").count("mixed ") == 5
    assert "trainer (simulated)" in shown(tour, "%remote cost")
    assert "trainer" in shown(tour, "%remote down")
