"""The panel with a real server, kernels and workers, and the simulated cloud: what a magic starts and what a click starts."""

from __future__ import annotations

import re

import pytest

from lab.notebook_page import CHROMIUM, chromium, jupyter_lab, write_notebook
from lab.panel_page import PanelPage

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
              pytest.mark.timeout(420)]  # fmt: skip

CELLS = [
    "%load_ext cellferry",
    "%%remote gpu=a100 provider=demo name=train budget=2\nimport threading\nprint('waits')\nthreading.Event().wait()",
    "%remote down",
    "%%remote detach\nprint('left behind')\nanswer = 6 * 7",
]
PATIENT = {"timeout": 120_000}
CALM = "{'stock_out': 0.0, 'no_quota': 0.0, 'spot_life_s': None, 'boot_s': (0.2, 0.3)}"
"""The simulated cloud always has a machine."""


@pytest.fixture
def tab(tmp_path):
    """A notebook with the panel beside it; ``tab.address`` and ``tab.browser`` open another."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder / "notebook.ipynb", CELLS, kernel="python3")
    with jupyter_lab(tmp_path, folder, CELLFERRY_DEMO_WEATHER=CALM) as address, chromium(tmp_path) as browser:
        tab = PanelPage(browser, address, "notebook.ipynb")
        tab.address, tab.browser = address, browser
        tab.open_panel()
        yield tab
        tab.page.close()


def test_what_a_magic_starts_is_seen_stopped_and_ended(tab, tmp_path):
    from playwright.sync_api import expect

    expect(tab.panel.get_by_text("try it")).to_be_visible(**PATIENT)
    tab.fold("Hardware")
    tab.run(0)
    expect(tab.cell(0).locator(".jp-InputPrompt")).to_have_text("[1]:")
    tab.run(1)
    workers = tab.section("workers")
    expect(workers.locator(".cf-name")).to_have_text("train", **PATIENT)
    tab.shoot(tmp_path, "live-starting")
    expect(workers.get_by_text("Busy")).to_be_visible(**PATIENT)
    expect(tab.panel.locator("[aria-live=polite]")).to_contain_text("Worker train is ready.")
    expect(workers.locator(".cf-plot canvas").first).to_be_visible(**PATIENT)
    expect(tab.cell(1).get_by_text("waits", exact=True)).to_be_visible(**PATIENT)
    runs = tab.section("runs")
    expect(runs.get_by_text("train · running")).to_be_visible()

    other = PanelPage(tab.browser, tab.address, "notebook.ipynb", idle=False)
    other.open_panel()
    expect(other.section("workers").locator(".cf-name")).to_have_text("train")
    expect(other.section("runs").get_by_text("train · running")).to_be_visible()

    budget = tab.section("budget")
    tab.panel.get_by_role("button", name="Change the limit: Today").first.click()
    field = tab.panel.get_by_label("Limit in dollars (Today); empty for none")
    field.fill("7")
    field.press("Enter")
    expect(budget.get_by_text("$7.00", exact=True).first).to_be_visible()
    expect(other.section("budget").get_by_text("$7.00", exact=True).first).to_be_visible()
    tab.shoot(tmp_path, "live-running")
    assert not tab.faults("#cellferry-panel")

    tab.panel.get_by_role("button", name="Stop the cell: train").click()
    expect(tab.cell(1).get_by_text(re.compile("KeyboardInterrupt")).first).to_be_visible(**PATIENT)
    expect(runs.get_by_text("train · running")).to_have_count(0)
    tab.panel.get_by_role("button", name="Logs: train").click()
    expect(tab.page.locator(".cf-logs pre")).not_to_have_text("", **PATIENT)
    tab.page.locator(".jp-NotebookPanel .jp-Notebook").click()
    tab.page.evaluate("""() => {
        const panels = [...window.jupyterapp.shell.widgets('main')];
        window.jupyterapp.shell.activateById(panels.find(one => one.title.label === 'notebook.ipynb').id);
    }""")
    runs.get_by_role("button", name=re.compile("notebook")).first.click()
    assert tab.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex") == 1
    tab.panel.get_by_role("button", name="End…: train", exact=True).click()
    expect(tab.page.locator(".jp-Dialog")).to_contain_text("It has come to $")
    tab.page.locator(".jp-Dialog .jp-mod-warn").click()
    expect(workers.locator(".cf-name")).to_have_count(0, **PATIENT)
    expect(other.section("workers").locator(".cf-name")).to_have_count(0, **PATIENT)
    tab.shoot(tmp_path, "live-ended")
    other.page.close()
    assert not tab.noise()


def test_what_a_click_starts_and_its_terminal(tab, tmp_path):
    from playwright.sync_api import expect

    tab.panel.get_by_role("button", name="The simulated cloud").click()
    options = tab.panel.get_by_role("option")
    expect(options.first).to_contain_text("A100", **PATIENT)
    tab.shoot(tmp_path, "live-offers")
    tab.panel.get_by_role("listbox").focus()
    tab.page.keyboard.press("Enter")
    expect(tab.section("hardware").locator(".cf-default")).to_contain_text("provider=demo")
    tab.panel.get_by_label("More words").fill("gpu=a100 provider=demo budget=1")
    expect(tab.panel.get_by_role("button", name="Start now")).to_be_enabled()
    tab.panel.get_by_role("button", name="Start now").click()
    workers = tab.section("workers")
    expect(workers.locator(".cf-worker")).to_have_count(1, **PATIENT)
    expect(workers.get_by_text("Idle")).to_be_visible(**PATIENT)
    tab.fold("Hardware")
    tab.panel.get_by_role("button", name=re.compile("Terminal: ")).click()
    terminal = tab.page.locator(".jp-Terminal")
    expect(terminal).to_be_visible(**PATIENT)
    terminal.click()
    tab.page.keyboard.type("echo $((6*7)) is here\n")
    # it is drawn, so its text is asked of the terminal itself
    tab.page.wait_for_function("""() => {
        const lines = window.jupyterapp.shell.currentWidget.content._term.buffer.active;
        return [...Array(lines.length).keys()].some(n => lines.getLine(n).translateToString().includes('42 is here'));
    }""", timeout=PATIENT["timeout"])
    tab.shoot(tmp_path, "live-terminal")
    tab.fold("Doctor")
    expect(tab.section("doctor").locator(".cf-check").first).to_be_visible(**PATIENT)
    tab.shoot(tmp_path, "live-doctor")
    tab.panel.get_by_role("button", name=re.compile("^End…: ")).click()
    tab.page.locator(".jp-Dialog .jp-mod-warn").click()
    expect(workers.locator(".cf-name")).to_have_count(0, **PATIENT)
    assert not tab.faults("#cellferry-panel")


def test_a_worker_on_this_machine_by_one_click(tab, tmp_path):
    from playwright.sync_api import expect

    tab.panel.get_by_role("button", name="A worker on this machine").click()
    workers = tab.section("workers")
    expect(workers.locator(".cf-worker")).to_have_count(1, **PATIENT)
    expect(workers.get_by_text("Idle")).to_be_visible(**PATIENT)
    expect(workers.get_by_text("free")).to_be_visible()
    tab.fold("Hardware")
    tab.shoot(tmp_path, "live-local")
    tab.run(0)
    tab.run(2)
    expect(workers.locator(".cf-worker")).to_have_count(0, **PATIENT)


def test_a_run_that_was_let_go_is_brought_home_from_the_panel(tab, tmp_path):
    from playwright.sync_api import expect

    tab.run(0)
    tab.run(3)
    runs = tab.section("runs")
    attach = runs.get_by_role("button", name=re.compile("^Attach: "))
    expect(attach).to_be_visible(**PATIENT)
    tab.fold("Hardware")
    tab.shoot(tmp_path, "live-waiting-run")
    attach.click()
    below = tab.cell(4)
    expect(below.locator(".jp-OutputArea-output", has_text="left behind").first).to_be_visible(**PATIENT)
    expect(below).to_contain_text("%remote attach ")
    expect(attach).to_have_count(0, **PATIENT)
    tab.page.keyboard.press("b")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.type("print('it is', answer)")
    tab.page.keyboard.press("Shift+Enter")
    expect(tab.page.get_by_text("it is 42", exact=True)).to_be_visible(**PATIENT)
    tab.shoot(tmp_path, "live-attached")
    tab.run(2)
    expect(tab.section("workers").locator(".cf-worker")).to_have_count(0, **PATIENT)
    assert not tab.faults("#cellferry-panel")
