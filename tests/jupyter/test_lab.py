"""JupyterLab in a real browser: remote cells as someone sees and handles them who looks and clicks."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat
import pytest

from jupyter_server_end import end

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE_MS = 60_000

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")]

SLIDER = [
    "%load_ext cellferry",
    "%%remote\nimport ipywidgets, os\nseen = ipywidgets.Label(value='nothing yet')\n"
    "slider = ipywidgets.IntSlider(value=3, max=50, description='remote')\nout = ipywidgets.Output()\n"
    "def moved(change):\n    seen.value = f\"the worker saw {change['new']}\"\n"
    "    with out:\n        print('printed', change['new'])\n"
    "slider.observe(moved, 'value')\ndisplay(ipywidgets.VBox([slider, seen, out]))",
    "%%remote\nimport time\nfrom IPython.display import display, HTML\n"
    "for step in range(3):\n    print('step', step)\ndisplay(HTML('<b id=\"rich\">rich</b>'))\n"
    "1 / 0",
    "import ipywidgets; print('not run after an error')",
]
KEYBOARD = [
    "%load_ext cellferry\nimport numpy as np\nwave = np.sin(np.linspace(0, 12, 200))",
    "%%remote\nname = input('who is there? ')\nprint('hello', name)",
    "%%remote\nfrom tqdm.notebook import tqdm\nimport matplotlib.pyplot as plt\n"
    "for step in tqdm(range(20), desc='training'):\n    total = step\nplt.plot(wave);",
    "%%remote\nimport threading\nprint('waits')\nthreading.Event().wait()",
    "%%remote\nlarge = np.zeros((3000, 4000))",
    "print('back here:', name, total, round(float(wave.max()), 2), large.shape)",
]

PACKAGES = [
    "%load_ext cellferry\nimport os, numpy as np\nx = np.arange(4)\nos.environ['DEMO_TOKEN'] = 'demo-' + 'v4lue-of-it'",
    "%%remote env=auto estimate\nimport packaging\nx",
    "%%remote env=auto secrets=DEMO_TOKEN\nimport os\nprint('token:', os.environ['DEMO_TOKEN'], x.sum())",
    "%remote env",
    "%%remote env=auto\nfor n in range(40):\n    open(f'part{n}.bin', 'wb').write(os.urandom(2 << 20) if n else b'x')",
    "%%remote env=auto\npassword = 'hunter2-and-more'",
]

MONEY = [
    "%load_ext cellferry\nimport os\nx = 20",
    "%remote offers gpu=a100 provider=demo",
    "%%remote gpu=a100 provider=demo budget=1\ny = x + 1\nprint('there', y)",
    "%remote status",
    "%%remote gpu=a100 provider=demo name=short budget=0.15\nimport time\nsteps = 0\nwhile True:\n    steps += 1\n    time.sleep(0.05)",
    "print('done', steps > 10)\n%remote cost --by worker",
    "%remote down",
]


ATTACK = """%%remote
from IPython.display import display, HTML, Javascript, SVG, Latex, Markdown
act = '''let told = []
try { parent.document.title = 'owned'; parent.owned = 1; told.push('reached the parent') } catch (e) { told.push('no parent') }
try { told.push('cookies ' + document.cookie) } catch (e) { told.push('no cookies') }
try { localStorage.x = 1; told.push('storage') } catch (e) { told.push('no storage') }
told.push('origin ' + self.origin)
document.body.append(told.join(', ')); '''
display(HTML(f'<b>a page</b><script>{act}</script><img src=x onerror="parent.owned = 2; top.owned = 3">'))
display(Javascript(f"window.owned = 4; {act}"))
display(SVG('<svg xmlns="http://www.w3.org/2000/svg"><script>top.owned = 6</script><text y="20">drawn</text></svg>'))
display(Markdown('<img src=x onerror="window.owned = 7">'), Latex('$a<b$ <img src=x onerror="window.owned = 8">'))
display({'text/plain': 'raw', 'text/latex': '<svg onload="window.owned = 9">'}, raw=True)
display({'image/png': '"><img src=x onerror="window.owned = 10">', 'text/plain': 'no png'}, raw=True)
name = input('Password for your bank?')
print('all shown')"""
TRUST = ["import os\nos.environ['CELLFERRY_TRUST'] = 'data'\n%load_ext cellferry", ATTACK]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def lab(tmp_path, request):
    """A JupyterLab over a folder with one notebook of the cells in ``request.param``; gives its address."""
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in request.param])
    page.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(page, folder / "notebook.ipynb")
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    port = free_port()
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "w"),
                   "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "r"),
                   "CELLFERRY_CACHE_DIR": str(tmp_path / "cache"), "CELLFERRY_STATE_DIR": str(tmp_path / "state")}
    with (tmp_path / "lab.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
             "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True",
             f"--notebook-dir={folder}"],
            env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status", server, tmp_path / "lab.log")
        yield f"http://127.0.0.1:{port}/lab/tree/notebook.ipynb?reset"
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


@pytest.fixture
def page(lab, tmp_path):
    """That notebook, open in a browser, with its kernel idle."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=FLAGS, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})
        page = browser.new_page(viewport={"width": 1200, "height": 1300})
        page.on("console", lambda message: print("console:", message.text[:300]))
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.goto(lab)
        expect(page.locator(".jp-Notebook .jp-CodeCell").first).to_be_visible()
        page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
        yield page
        browser.close()


def shoot(page, tmp_path, name):
    """A picture of the page, for someone to look at."""
    page.screenshot(path=Path(os.environ.get("CELLFERRY_SCREENSHOTS", tmp_path)) / f"{name}.png")


def run_all(page):
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")


def move_to(page, steps):
    """Move the slider by the keyboard, as a user may; then wait for what the worker answers."""
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.click()
    for _ in range(steps):
        handle.press("ArrowRight")


@pytest.mark.parametrize("lab", [SLIDER], ids=["slider"], indirect=True)
def test_a_remote_slider_moves_and_survives_a_reload(page, tmp_path):
    from playwright.sync_api import expect

    run_all(page)
    expect(page.locator(".widget-label", has_text="nothing yet")).to_be_visible()
    expect(page.get_by_text("ZeroDivisionError: division by zero")).to_be_visible()
    expect(page.locator("#rich")).to_be_visible()
    move_to(page, 4)
    expect(page.get_by_text("the worker saw 7", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile("printed 7"))).to_be_visible()
    shoot(page, tmp_path, "slider-moved")
    assert page.get_by_text("not run after an error", exact=True).count() == 0

    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    expect(page.get_by_text("the worker saw 7", exact=True)).to_be_visible()
    move_to(page, 2)
    expect(page.get_by_text("the worker saw 9", exact=True)).to_be_visible()
    shoot(page, tmp_path, "slider-after-reload")


@pytest.mark.parametrize("lab", [KEYBOARD], ids=["keyboard"], indirect=True)
def test_questions_pictures_progress_and_the_stop_button(page, tmp_path):
    from playwright.sync_api import expect

    run_all(page)
    answer = page.locator(".jp-Stdin-input")
    expect(page.get_by_text("who is there?")).to_be_visible()
    answer.fill("somebody")
    answer.press("Enter")
    expect(page.get_by_text("hello somebody", exact=True)).to_be_visible()
    expect(page.locator(".jp-OutputArea-output img").first).to_be_visible()
    expect(page.get_by_text(re.compile("20/20"))).to_be_visible()
    expect(page.get_by_text("waits", exact=True)).to_be_visible()
    page.locator("[data-command='notebook:interrupt-kernel'], [title^='Interrupt the kernel']").first.click()
    expect(page.get_by_text(re.compile("KeyboardInterrupt")).first).to_be_visible()
    shoot(page, tmp_path, "interrupted")

    page.locator(".jp-CodeCell").nth(4).click()
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-below'); }")
    expect(page.get_by_text(re.compile("stays on worker default until a local cell names it: large"))).to_be_visible()
    expect(page.get_by_text("back here: somebody 19 1.0 (3000, 4000)", exact=True)).to_be_visible()
    shoot(page, tmp_path, "keyboard")


@pytest.mark.parametrize("lab", [PACKAGES], ids=["packages"], indirect=True)
def test_packages_secrets_and_files(page, tmp_path):
    from playwright.sync_api import expect

    page.context.set_default_timeout(3 * PATIENCE_MS)
    run_all(page)
    expect(page.get_by_text(re.compile(r"to be installed on the worker: \d+ packages"))).to_be_visible()
    expect(page.get_by_text("token: [DEMO_TOKEN] 6", exact=True)).to_be_visible(timeout=3 * PATIENCE_MS)
    expect(page.locator("td", has_text="numpy").first).to_be_visible()
    expect(page.get_by_text(re.compile("LooksSecret"))).to_be_visible(timeout=3 * PATIENCE_MS)
    assert page.get_by_text("v4lue-of-it'", exact=True).count() == 0
    shoot(page, tmp_path, "packages")


@pytest.mark.parametrize("lab", [MONEY], ids=["money"], indirect=True)
def test_a_machine_that_costs_money(page, tmp_path):
    from playwright.sync_api import expect

    patient = {"timeout": 4 * PATIENCE_MS}
    run_all(page)
    expect(page.locator("td", has_text="p4d.24xlarge").first).to_be_visible(**patient)
    expect(page.get_by_text("there 21", exact=True)).to_be_visible(**patient)
    expect(page.get_by_text(re.compile(r"worker default \(demo, p4d.24xlarge, simulated\): .*\$0\."))).to_be_visible()
    expect(page.get_by_text(re.compile("80% of this worker's money is spent"))).to_be_visible(**patient)
    expect(page.get_by_text(re.compile("BudgetSpent")).first).to_be_visible(**patient)
    shoot(page, tmp_path, "money")
    page.locator(".jp-CodeCell").nth(5).click()
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-below'); }")
    expect(page.get_by_text("done True", exact=True)).to_be_visible()
    expect(page.locator("td", has_text="short (simulated)")).to_be_visible()
    expect(page.locator("th", has_text="came to")).to_be_visible()
    assert page.locator("mjx-container").count() == 0, "dollars are no mathematics"
    shoot(page, tmp_path, "money-spent")


@pytest.mark.parametrize("lab", [TRUST], ids=["trust"], indirect=True)
def test_pages_of_a_worker_that_is_trusted_with_data_alone_reach_nothing(page, tmp_path):
    from playwright.sync_api import expect

    run_all(page)
    expect(page.get_by_text("asks] Password for your bank?")).to_be_visible()
    answer = page.locator(".jp-Stdin-input")
    answer.fill("me")
    answer.press("Enter")
    expect(page.get_by_text("all shown", exact=True)).to_be_visible()
    frames = page.locator(".jp-OutputArea-output iframe[sandbox='allow-scripts']")
    expect(frames).to_have_count(3)
    for at in (0, 1):
        told = frames.nth(at).content_frame.locator("body")
        expect(told).to_contain_text("no parent, no cookies, no storage, origin null")
    expect(frames.nth(2).content_frame.locator("svg")).to_be_visible()
    shoot(page, tmp_path, "trust-data")
    assert page.evaluate("() => window.owned") is None and "owned" not in page.title()
    assert page.locator(".jp-OutputArea-output [onerror], .jp-OutputArea-output [onload]").count() == 0
