"""What the sidebar is told, by a real server, with real kernels and workers."""

from __future__ import annotations

import time
from pathlib import Path

from .sidebar import Server, jupyter_server, nothing_lasts, server

__all__ = ["nothing_lasts", "server"]


def test_a_worker_of_a_magic_is_told_within_a_second(server: Server) -> None:
    panel = server.live()
    panel.until(lambda s: s["workers"] == [] and s["runs"] == [] and s["budget"], "everything once")
    notebook = server.notebook("a.ipynb")
    notebook.run("%load_ext cellferry")
    cell = notebook.send("%%remote name=train\nimport threading; threading.Event().wait()", "c-7")
    told = panel.until(lambda s: s["workers"][0], "the worker")
    assert time.time() - told["phases"][0]["at_unix_s"] < 1.0 and told["name"] == "train"
    run = panel.until(lambda s: next(r for r in s["runs"] if r["phase"] == "running"), "the run")
    row = panel.until(lambda s: next(w for w in s["workers"] if w["state"] == "ready" and w["busy"] and w["cpus"]), "it is ready and busy")
    assert run["notebook"] == "a.ipynb" and run["cell_id"] == "c-7" and run["worker_id"] == row["id"] and run["worker"] == "train"
    assert row["notebook"] == "a.ipynb" and row["cells"][0]["cell_id"] == "c-7" and row["mine"] and row["cpus"] > 0
    assert [each["phase"] for each in row["phases"]] == ["requested", "booting", "environment", "data", "ready"]
    assert row["provider"] == "local" and row["microusd_per_hour"] == 0 and row["words"] == "name=train"
    other = server.live()
    other.until(lambda s: s["workers"][0]["id"] == row["id"] and s["runs"][0]["run"] == run["run"], "the other tab knows it too")
    notebook.interrupt()
    panel.until(lambda s: s["runs"][0]["status"] == "stopped" and s["runs"][0]["ended_unix_s"], "it was stopped")
    panel.until(lambda s: not s["workers"][0]["busy"], "it is free")
    try:
        notebook.reply(cell)
    except AssertionError as error:
        assert "KeyboardInterrupt" in str(error)
    notebook.run("%remote down")
    panel.until(lambda s: not s["workers"], "it has ended")
    other.until(lambda s: not s["workers"], "the other tab knows that too")


def test_what_did_not_change_is_not_sent(server: Server) -> None:
    notebook = server.notebook()
    notebook.run("%load_ext cellferry")
    notebook.run("%%remote\nx = 1")
    panel = server.live()
    panel.until(lambda s: s["workers"][0]["state"] == "ready" and s["runs"][0]["status"] == "ok" and s["budget"])
    while panel.listen(3.0):
        pass
    before = dict(panel.sections)
    more = panel.listen(5.0)
    assert not more, [(name, before[name], panel.sections[name]) for name in before if before[name] != panel.sections[name]]


def test_it_is_right_after_a_server_restart(tmp_path: Path, nothing_lasts: None) -> None:
    words = "gpu=a100 provider=demo budget=1 name=lasting"
    with jupyter_server(tmp_path) as server:
        notebook = server.notebook()
        notebook.run("%load_ext cellferry")
        notebook.run(f"%%remote {words}\nx = 1")
        panel = server.live()
        before = panel.until(lambda s: next(w for w in s["workers"] if w["state"] == "ready"))
    with jupyter_server(tmp_path) as server:
        panel = server.live()
        after = panel.until(lambda s: next(w for w in s["workers"] if w["name"] == "lasting"))
        assert after["id"] == before["id"] and after["notebook"] == "a.ipynb" and after["simulated"] and not after["mine"]
        assert after["gpu"] == "a100" and after["microusd_per_hour"] > 0 and after["reserved_microusd"] == 1_000_000
        assert after["ends_unix_s"]
        will = panel.until(lambda s: s["budget"]["ends"])[0]
        assert will["worker"] == "lasting" and 900_000 < will["will_have_cost_microusd"] <= 1_000_000
        notebook = server.notebook()
        notebook.run("%load_ext cellferry")
        notebook.run(f"%%remote {words}\ny = 1")
        panel.until(lambda s: next(w for w in s["workers"] if w["mine"])["cells"], "the new kernel has adopted it")
        assert [w["id"] for w in panel.sections["workers"]] == [before["id"]]
        notebook.run("%remote down")
        panel.until(lambda s: not s["workers"])
        ours = ("notebook", True)
        rows = panel.until(lambda s: [r for r in s["budget"]["rows"] if (r["period"], r["simulated"]) == ours and r["spent_microusd"]])
        assert rows[0]["notebook"] == "a.ipynb" and rows[0]["limit_microusd"] is None
    assert not list((tmp_path / "state" / "board").iterdir())


def test_a_cell_that_goes_on_without_its_notebook_is_told_by_its_worker(server: Server) -> None:
    panel, notebook = server.live(), server.notebook("a.ipynb")
    notebook.run("%load_ext cellferry")
    notebook.run("%%remote detach name=train\nimport time\nwhile not __import__('os').path.exists('go'): time.sleep(0.1)\nx = 41", "c-9")
    run = panel.until(lambda s: next(r for r in s["runs"] if r["status"] == "detached" and r["unclaimed"]), "it is left")
    assert run["cell_id"] == "c-9" and run["notebook"] == "a.ipynb" and run["ended_unix_s"] is None and run["phase"] == "running"
    notebook.close()
    panel.until(lambda s: not s["workers"][0]["mine"] and s["runs"][0]["run"] == run["run"], "its kernel is gone, the run is not")
    assert panel.sections["runs"][0]["cell_id"] == "c-9" and panel.sections["runs"][0]["notebook"] == "a.ipynb"
    second = server.notebook("a.ipynb")
    second.run("%load_ext cellferry")
    worker = panel.sections["workers"][0]["id"]
    server.ask("POST", f"cellferry/api/workers/{worker}/interrupt", {})
    panel.until(lambda s: s["runs"][0]["ended_unix_s"] and s["runs"][0]["phase"] == "done", "it has ended")
    server.ask("DELETE", f"cellferry/api/workers/{worker}")
    panel.until(lambda s: not s["workers"] and not s["runs"], "and is gone with its worker")
