"""The cell in JupyterLab: where it runs, what its run does, how its outputs were made, what stayed elsewhere."""

from __future__ import annotations

import contextlib
import re

import pytest

from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from lab.notebook_page import CHROMIUM, NotebookPage, chromium, jupyter_lab, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")]

PID = "import os\nprint('pid', os.getpid())"


def end_all(state):
    """End the workers that outlive their notebooks, also where the test failed."""
    fleet = Fleet(Cellferry(state_dir=str(state)))
    try:
        fleet.down(everyone=True)
    finally:
        fleet.close()


@pytest.fixture
def browser(tmp_path):
    with chromium(tmp_path) as found:
        yield found


@pytest.fixture
def open_notebook(tmp_path, browser):
    """``open_notebook(cells, kernel=..., settings={...})`` opens a notebook of these cells in a JupyterLab of its own."""
    with contextlib.ExitStack() as stack:
        stack.callback(end_all, tmp_path / "state")

        def make(cells, *, kernel="cellferry", metadata=None, prepare=None, **settings):
            folder = tmp_path / "notebooks"
            folder.mkdir()
            write_notebook(folder / "notebook.ipynb", cells, kernel=kernel, metadata=metadata)
            lab = stack.enter_context(jupyter_lab(tmp_path, folder, **settings))
            return NotebookPage(browser, lab, "notebook.ipynb", prepare=prepare)

        yield make


def test_the_chip_says_where_a_cell_runs_and_the_kernel_obeys(open_notebook, tmp_path):
    from playwright.sync_api import expect

    tab = open_notebook([PID, PID, "%%remote name=train\n" + PID])
    expect(tab.line(2).locator(".cf-Badge")).to_have_text("train")
    expect(tab.line(0)).to_be_hidden()
    tab.save()  # JupyterLab itself notes the kernel's language when a notebook is opened first
    tab.cell(1).locator(".jp-InputArea-editor").click()
    chip = tab.cell(1).locator(".cf-Chip .cf-Badge")
    expect(chip).to_have_text("local")
    chip.focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".cf-Menu")).to_be_visible()
    tab.shoot(tmp_path, "cell-menu")
    assert not tab.is_dirty(), "looking changes nothing"
    assert not tab.faults(".cf-Menu")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Enter")
    expect(chip).to_have_text("worker")
    assert tab.metadata(1) == {"remote": ""}

    for number in range(3):
        tab.run(number)
    expect(tab.cell(2).get_by_text(re.compile(r"pid \d+"))).to_be_visible()
    pids = [int(tab.cell(n).locator("text=/pid \\d+/").inner_text().split()[1]) for n in range(3)]
    assert len(set(pids)) == 3, "here, on the default worker, on the one that is named"
    tab.shoot(tmp_path, "cell-ran")

    tab.choose(1, "Local")
    expect(tab.cell(1).locator(".cf-Chip .cf-Badge")).to_have_text("local")
    assert "remote" not in (tab.metadata(1) or {})
    tab.choose(2, "A worker process of this machine")
    assert tab.source(2).startswith("%%remote\n"), "what stands in the text is changed in the text"
    assert not tab.faults(".jp-Notebook .cf-Line") and not tab.said


def test_words_are_checked_before_they_are_taken(open_notebook, tmp_path):
    from playwright.sync_api import expect

    tab = open_notebook([PID])
    tab.choose(0, "Edit request")
    field = tab.page.locator(".cf-Request input[type=text]")
    expect(field).to_be_focused()
    field.fill("gpuu=a100")
    field.press("Enter")
    told = tab.page.locator(".cf-Request-told")
    expect(told).to_contain_text("gpu")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert not tab.faults(".jp-Dialog")
    tab.shoot(tmp_path, "cell-request")
    field.fill("name=train")
    expect(told).to_have_text("")
    tab.page.get_by_text("Use it as this notebook’s default").click()
    field.press("Enter")
    expect(tab.line(0).locator(".cf-Badge")).to_have_text("train")
    assert tab.metadata(0) == {"remote": "name=train"}
    default = tab.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.getMetadata('cellferry')")
    assert default == {"default": "name=train"}


def test_selected_cells_are_run_elsewhere(open_notebook, tmp_path):
    from playwright.sync_api import expect

    tab = open_notebook([PID, PID, PID])
    tab.cell(0).locator(".jp-InputArea-prompt").click()
    tab.cell(1).locator(".jp-InputArea-prompt").click(modifiers=["Shift"])
    tab.cell(1).locator(".jp-InputArea-prompt").click(button="right")
    tab.page.locator(".lm-Menu-item", has_text="Run Selected Cells On").click()
    tab.page.locator(".cf-Menu .lm-Menu-item", has_text="A worker process").click()
    for number in (0, 1):
        expect(tab.cell(number).get_by_text(re.compile(r"pid \d+"))).to_be_visible()
    tab.run(2)
    expect(tab.cell(2).get_by_text(re.compile(r"pid \d+"))).to_be_visible()
    pids = [tab.cell(n).locator("text=/pid \\d+/").inner_text() for n in range(3)]
    assert pids[0] == pids[1] != pids[2]
    assert [tab.metadata(n) and tab.metadata(n)["remote"] for n in range(3)] == ["", "", None]
    tab.cell(2).locator(".jp-InputArea-prompt").click()
    tab.page.keyboard.press("Control+Alt+Enter")
    expect(tab.page.locator(".cf-Menu")).to_be_visible()
    tab.shoot(tmp_path, "cell-run-selected")


def test_a_kernel_that_cannot_read_it_is_changed_or_the_text_says_it(open_notebook, tmp_path):
    from playwright.sync_api import expect

    tab = open_notebook(["%load_ext cellferry", PID, PID], kernel="python3")
    tab.choose(1, "A worker process")
    dialog = tab.page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("does not read where a cell is set to run")
    assert not tab.faults(".jp-Dialog")
    tab.shoot(tmp_path, "cell-kernel")
    dialog.get_by_role("button", name="Write %%remote into the cell").click()
    expect(tab.line(1).locator(".cf-Badge")).to_have_text("worker")
    assert tab.source(1) == f"%%remote\n{PID}" and tab.metadata(1) is None
    tab.choose(2, "A worker process")
    dialog.get_by_role("button", name="Change the kernel").click()
    expect(tab.line(2).locator(".cf-Badge")).to_have_text("worker")
    tab.ready()
    name = tab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.name")
    assert (name, tab.metadata(2)) == ("cellferry", {"remote": ""})


def test_what_stayed_on_a_worker_is_brought_here_by_its_button(open_notebook, tmp_path):
    from playwright.sync_api import expect

    make = "%%remote\nimport numpy as np\nlarge = np.ones((500, 500))"
    tab = open_notebook([make, "print(type(large).__name__)"], CELLFERRY_FETCH_LIMIT="100000")
    tab.run(0)
    shown = tab.cell(0).locator(".cf-Placeholder")
    expect(shown).to_contain_text("stays on worker default until a local cell names it: large")
    expect(shown).to_contain_text("1.9 MiB")
    tab.shoot(tmp_path, "cell-placeholder")
    assert not tab.faults(".cf-Placeholder")
    shown.get_by_role("button", name="Bring large here").click()
    expect(tab.cell(0).locator(".jp-OutputArea-output", has_text="array([[1., 1.")).to_be_visible()
    expect(shown).to_have_count(0)
    tab.run(1)
    expect(tab.cell(1).get_by_text("ndarray", exact=True)).to_be_visible()
    tab.shoot(tmp_path, "cell-brought")


CALM = "{'stock_out': 0.0, 'no_quota': 0.0, 'spot_life_s': None, 'boot_s': (0.2, 0.3)}"


def waits_for(path):
    """A cell that goes on until a file is there (its path in pieces: a file that is named would travel)."""
    return ("%%remote gpu=a100 provider=demo budget=5\nimport pathlib, time\n"
            f"go = pathlib.Path('/').joinpath(*{list(path.parts[1:])})\nprint('begun')\n"
            "while not go.exists():\n    time.sleep(0.05)\nprint('done')\nfound = go.exists()")


def test_what_a_run_does_and_how_its_output_was_made(open_notebook, tmp_path):
    from playwright.sync_api import expect

    go = tmp_path / "go"
    tab = open_notebook([waits_for(go), "print('here')"], CELLFERRY_DEMO_WEATHER=CALM)
    status = tab.line(0).locator(".cf-Status")
    tab.run(0)
    expect(status).to_have_text(re.compile(r"running · \d+ s · \$0\.\d+ \(simulated\)"))
    expect(tab.line(0).locator(".cf-Badge")).to_have_text(re.compile(r"a100 · \$\d+\.\d\d/h · simulated"))
    tab.shoot(tmp_path, "cell-running")
    assert not tab.faults(".jp-Notebook .cf-Line")
    go.touch()
    past = re.compile(r"^[\d:.]+( s)? · \$0\.\d+ \(simulated\) · on default$")
    expect(status).to_have_text(past)
    kept = tab.metadata(0)["provenance"]
    assert kept["provider"] == "demo" and kept["simulated"] is True and kept["status"] == "ok"
    assert "A100" in kept["hardware"] and kept["microusd"] > 0 and kept["began"] < kept["ended"]
    tab.line(0).locator(".cf-Badge").click()
    tab.page.locator(".cf-Menu .lm-Menu-item", has_text="How this output was made").click()
    expect(tab.page.locator(".jp-Dialog")).to_contain_text("A100")
    assert not tab.faults(".jp-Dialog")
    tab.shoot(tmp_path, "cell-provenance")
    tab.page.get_by_role("button", name="Close").last.click()

    tab.save()
    tab.page.reload()
    tab.ready()
    expect(status).to_have_text(past)
    other = tab.beside()
    expect(other.line(0).locator(".cf-Status")).to_have_text(past)
    assert tab.metadata(0)["provenance"] == other.metadata(0)["provenance"] == kept
    assert not tab.is_dirty() and not other.is_dirty(), "looking changes nothing, in no tab"

    go.unlink()
    tab.run(0)
    expect(other.line(0).locator(".cf-Status")).to_have_text(re.compile("running"))
    tab.page.close()  # before its end
    go.touch()
    expect(other.line(0).locator(".cf-Status")).to_have_text(past)
    other.page.wait_for_function(
        "run => window.jupyterapp.shell.currentWidget.content.widgets[0].model.getMetadata('cellferry').provenance.run !== run",
        arg=kept["run"])
    other.choose(0, "Local")
    go.unlink()
    go.touch()
    other.run(0)
    expect(other.cell(0).locator(".jp-OutputArea-output", has_text="done")).to_be_visible()
    expect(other.line(0)).to_be_hidden()
    other.page.wait_for_function(  # an output that was made here says nothing of elsewhere
        "() => !window.jupyterapp.shell.currentWidget.content.widgets[0].model.getMetadata('cellferry')")


def test_a_cell_that_was_left_is_attached_to_and_shows_its_outputs_in_its_place(open_notebook, tmp_path):
    from playwright.sync_api import expect

    go = tmp_path / "go"
    tab = open_notebook([waits_for(go).replace(" gpu=a100 provider=demo budget=5", ""), "print(found)"])
    tab.run(0)
    expect(tab.cell(0).get_by_text("begun", exact=True)).to_be_visible()
    expect(tab.line(0).locator(".cf-Status")).to_have_text(re.compile("running"))
    tab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(tab.line(0).locator(".cf-Status")).to_have_text(re.compile("still running on default"))
    attach = tab.line(0).get_by_role("button", name="Attach")
    expect(attach).to_be_visible()
    tab.shoot(tmp_path, "cell-left")
    assert not tab.faults(".jp-Notebook .cf-Line")
    attach.click()
    expect(attach).to_be_hidden()
    expect(tab.cell(0).locator(".jp-OutputArea-output", has_text="begun")).to_be_visible()
    go.touch()
    expect(tab.cell(0).locator(".jp-OutputArea-output", has_text="done")).to_be_visible()
    expect(tab.line(0).locator(".cf-Status")).to_have_text(re.compile("on default$"))
    assert tab.metadata(0)["provenance"]["status"] == "ok"
    tab.shoot(tmp_path, "cell-attached")
    tab.run(1)
    expect(tab.cell(1).get_by_text("True", exact=True)).to_be_visible()
