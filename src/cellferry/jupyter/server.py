"""What cellferry does in the user's own Jupyter server: it serves the sidebar, and at its start ends machines that nobody owns.

Enabled by the file ``jupyter_server_config.d/cellferry.json`` that comes with the package. A worker's server does not load it.
"""

from __future__ import annotations

import threading
from typing import Any

from cellferry.errors import CellferryError


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "cellferry.jupyter.server"}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Called by Jupyter Server at its start. Returns at once: what is to be done asks networks."""
    from traitlets import TraitError

    from cellferry.config import load
    from cellferry.jupyter.sidebar import serve

    try:
        serve(app, load(app))
    except TraitError as error:
        app.log.error("cellferry: the configuration cannot be used, the sidebar stays empty: %s", error)
        return
    threading.Thread(target=tidy, args=(app,), name="cellferry-reap", daemon=True).start()


def tidy(app: Any) -> None:
    """Reap, where there is a ledger to reap by; what was done is in the server's log, and so is what could not be done."""
    from cellferry.config import load
    from cellferry.fleet.fleet import Fleet

    try:
        fleet = Fleet(load(app))
        try:
            done = fleet.reap() if fleet.purse.kept else []
        finally:
            fleet.close()
    except (CellferryError, OSError) as error:
        app.log.warning("cellferry could not look for machines that nobody owns: %s", error)
        return
    for each in done:
        app.log.info("cellferry: %s %s (%s): %s", each.what, each.name, each.provider, each.why)
